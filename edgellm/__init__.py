"""edgellm turns a Hugging Face checkpoint into the best model that fits your memory, and runs it."""
