"""Mistral 7B and its kin: Llama's tensors, with a sliding window in every layer or in none."""

from edgellm.families.family import ATTN_NORM, ATTN_OUTPUT, FFN, QKV, Family, SlidingWindow

MISTRAL = Family(
    name="mistral",
    title="Mistral",
    model_types=("mistral",),
    architectures=("MistralForCausalLM",),
    gguf_architecture="llama",
    interleaves_rope=True,
    layer_tensors=(ATTN_NORM, *QKV, ATTN_OUTPUT, *FFN),
    default_context=131072,
    default_kv_heads=8,
    default_sliding_window=4096,
    sliding_window=SlidingWindow.EVERY_LAYER,
)
