"""What is around the steps: launch, run folder, optimiser, checkpoints, saved models."""
