"""A checkpoint becomes a model of this machine's: what is wanted, its plan, its conversion."""
