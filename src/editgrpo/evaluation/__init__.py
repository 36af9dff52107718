"""Metrics over a test set, with intervals and paired comparisons."""
