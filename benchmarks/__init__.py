"""One script a question; each writes its JSON into benchmarks/results."""
