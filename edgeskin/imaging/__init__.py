"""Image analysis without the network: preprocessing, quality, segmentation, descriptors, registration."""
