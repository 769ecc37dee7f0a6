"""Predictions, measures with intervals, and reports."""
