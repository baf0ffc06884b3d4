"""Qwen2 and Qwen2.5: biases on Q, K and V."""

from edgellm.families.family import (
    ATTN_NORM,
    ATTN_OUTPUT,
    FFN,
    QKV,
    Family,
    SlidingWindow,
    qkv_bias,
)

QWEN2 = Family(
    name="qwen2",
    title="Qwen2",
    model_types=("qwen2",),
    architectures=("Qwen2ForCausalLM",),
    gguf_architecture="qwen2",
    interleaves_rope=False,
    layer_tensors=(ATTN_NORM, *QKV, *qkv_bias(), ATTN_OUTPUT, *FFN),
    default_context=32768,
    default_kv_heads=32,
    default_sliding_window=4096,
    sliding_window=SlidingWindow.CHOSEN_LAYERS,
)
