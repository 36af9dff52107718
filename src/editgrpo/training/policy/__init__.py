"""What is trained, and what it reads: loading, prompts, images, features, places of tokens."""
