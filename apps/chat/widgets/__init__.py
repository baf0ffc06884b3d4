"""What stands around the transcript: the prompt, what is going on, how full everything is."""
