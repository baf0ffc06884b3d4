"""Measurements behind every figure the project states; each writes JSON into benchmarks/results."""
