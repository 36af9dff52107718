"""The demo: the whole method on phantom studies, on a laptop CPU, in minutes."""
