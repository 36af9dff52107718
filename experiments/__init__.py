"""The paper's study in miniature: stages, arms and tables as data, and what runs and shows them."""
