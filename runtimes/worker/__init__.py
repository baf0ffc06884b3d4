"""A service in a process of its own, which can crash or be killed without harm to its caller."""
