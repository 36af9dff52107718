"""Metrics: one file a metric, and one table of all of them."""
