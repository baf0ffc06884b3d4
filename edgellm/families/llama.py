"""Llama 1, 2, 3 and 3.x, and the many models that keep their architecture."""

from edgellm.families.family import (
    ATTN_NORM,
    ATTN_OUTPUT,
    FFN,
    QKV,
    Family,
    attn_output_bias,
    ffn_bias,
    qkv_bias,
)

LLAMA = Family(
    name="llama",
    title="Llama",
    model_types=("llama",),
    architectures=("LlamaForCausalLM", "LLaMAForCausalLM"),
    gguf_architecture="llama",
    interleaves_rope=True,
    layer_tensors=(
        ATTN_NORM,
        *QKV,
        *qkv_bias("attention_bias"),
        ATTN_OUTPUT,
        attn_output_bias("attention_bias"),
        *FFN,
        *ffn_bias("mlp_bias"),
    ),
    default_context=2048,
)
