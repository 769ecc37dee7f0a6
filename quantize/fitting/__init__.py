"""The decision rules of a bundle, fitted to the outputs of one precision: one module a rule."""
