"""Speculative decoding: guess the next tokens cheaply, check them all in one batch.

What is guaranteed, and why: a batch rounds differently from single tokens in some kernels, and a
rounding can turn a near tie. So `trial.py` compares, on this machine with this very model, the
logits of batches of each size with those of single tokens, bit for bit; an answer that has to be
the same each time (temperature 0, or a seed) is given by batches of the equal sizes only, and is
token for token what single steps give. Any other answer may use every size: each token is drawn
by the same sampler from the model's own distribution, as it is without speculation.
"""
