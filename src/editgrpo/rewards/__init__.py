"""Rewards: one file a metric, and the composite that training optimises."""
