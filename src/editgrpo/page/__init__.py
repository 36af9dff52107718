"""A page, on this machine alone, on which a model is tried: `editgrpo try`."""
