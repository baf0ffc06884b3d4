"""What the terminal chat costs, and what it survives."""
