"""Which engine and device run a model here, and why the others do not."""
