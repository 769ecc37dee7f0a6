"""The network, its backbones, and its reconstruction from a bundle."""
