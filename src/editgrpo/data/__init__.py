"""Studies, prompts and images: one file a data set."""
