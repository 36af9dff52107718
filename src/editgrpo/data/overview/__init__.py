"""What a prepared set holds, as numbers and as pictures."""
