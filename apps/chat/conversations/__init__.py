"""What was said, kept: conversations as trees of turns, in one SQLite file."""
