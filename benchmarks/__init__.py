"""Benchmarks: one script per question, its results as JSON beside it, its table rendered by itself."""
