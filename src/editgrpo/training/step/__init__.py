"""What happens within a step: studies, groups, scores, advantages, batches, records."""
