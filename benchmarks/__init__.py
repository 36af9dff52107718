"""One script a claim; the last line that it prints is one JSON object."""
