"""Which tokenizer a checkpoint has, what is in it, and what llama.cpp needs help with."""

from edgellm.tokenizer.facts import TokenizerFacts, describe_tokenizer, used_tokenizer

__all__ = ["TokenizerFacts", "describe_tokenizer", "used_tokenizer"]
