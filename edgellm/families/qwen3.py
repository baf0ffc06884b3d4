"""Qwen3 (dense): Q and K normalised per head, biases optional."""

from edgellm.families.family import (
    ATTN_NORM,
    ATTN_OUTPUT,
    FFN,
    QK_NORM,
    QKV,
    Family,
    SlidingWindow,
    attn_output_bias,
    qkv_bias,
)

QWEN3 = Family(
    name="qwen3",
    title="Qwen3",
    model_types=("qwen3",),
    architectures=("Qwen3ForCausalLM",),
    gguf_architecture="qwen3",
    interleaves_rope=False,
    layer_tensors=(
        ATTN_NORM,
        *QKV,
        *qkv_bias("attention_bias"),
        ATTN_OUTPUT,
        attn_output_bias("attention_bias"),
        *QK_NORM,
        *FFN,
    ),
    default_context=32768,
    default_kv_heads=32,
    default_head_dim=128,
    default_sliding_window=4096,
    sliding_window=SlidingWindow.CHOSEN_LAYERS,
)
