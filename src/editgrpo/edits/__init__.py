"""The edit rules as pure functions, and the splice from an edited text to edited tokens."""
