"""SFT and EditGRPO training."""
