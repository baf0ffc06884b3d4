"""The graphics processors of this machine: what they are, and what memory they have."""
