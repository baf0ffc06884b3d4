"""Which tokenizer a checkpoint has, what is in it, and what llama.cpp needs help with."""
