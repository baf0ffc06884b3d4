"""Model specs of any shape, without a checkpoint."""

from edgellm.spec import DType, ModelSpec, Role, TensorSpec


def make_spec(
    *,
    layers: int = 2,
    hidden: int = 256,
    ffn: int = 512,
    heads: int = 4,
    kv_heads: int = 2,
    head_dim: int = 64,
    vocab: int = 1000,
    tied: bool = True,
    qkv_bias: bool = False,
    qk_norm: bool = False,
    context_length: int = 2**20,
    sliding_window: int | None = None,
) -> ModelSpec:
    """A decoder of the given shape; qkv_bias makes it a Qwen2, qk_norm a Qwen3, neither a Llama."""
    blocks = [
        tensor
        for layer in range(layers)
        for tensor in _block(layer, hidden, ffn, heads, kv_heads, head_dim, qkv_bias, qk_norm)
    ]
    outer = [_tensor("model.embed_tokens", Role.TOKEN_EMBEDDING, None, vocab, hidden)]
    outer.append(_tensor("model.norm", Role.OUTPUT_NORM, None, hidden))
    if not tied:
        outer.append(_tensor("lm_head", Role.OUTPUT, None, vocab, hidden))
    return ModelSpec(
        family="qwen3" if qk_norm else "qwen2" if qkv_bias else "llama",
        name="made-up",
        layers=layers,
        hidden_size=hidden,
        ffn_size=ffn,
        heads=heads,
        kv_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=vocab,
        context_length=context_length,
        norm_epsilon=1e-5,
        rope_theta=10000.0,
        rope_scaling=None,
        tied_embeddings=tied,
        sliding_window=sliding_window,
        tensors=(*outer, *blocks),
    )


def _block(
    layer: int,
    hidden: int,
    ffn: int,
    heads: int,
    kv_heads: int,
    head_dim: int,
    qkv_bias: bool,
    qk_norm: bool,
) -> list[TensorSpec]:
    q, kv = heads * head_dim, kv_heads * head_dim
    shapes: list[tuple[str, Role, tuple[int, ...]]] = [
        ("input_layernorm", Role.ATTN_NORM, (hidden,)),
        ("self_attn.q_proj", Role.ATTN_Q, (q, hidden)),
        ("self_attn.k_proj", Role.ATTN_K, (kv, hidden)),
        ("self_attn.v_proj", Role.ATTN_V, (kv, hidden)),
        ("self_attn.o_proj", Role.ATTN_OUTPUT, (hidden, q)),
        ("post_attention_layernorm", Role.FFN_NORM, (hidden,)),
        ("mlp.gate_proj", Role.FFN_GATE, (ffn, hidden)),
        ("mlp.up_proj", Role.FFN_UP, (ffn, hidden)),
        ("mlp.down_proj", Role.FFN_DOWN, (hidden, ffn)),
    ]
    if qkv_bias:
        shapes += [
            ("self_attn.q_proj.bias", Role.ATTN_Q_BIAS, (q,)),
            ("self_attn.k_proj.bias", Role.ATTN_K_BIAS, (kv,)),
            ("self_attn.v_proj.bias", Role.ATTN_V_BIAS, (kv,)),
        ]
    if qk_norm:
        shapes += [
            ("self_attn.q_norm", Role.ATTN_Q_NORM, (head_dim,)),
            ("self_attn.k_norm", Role.ATTN_K_NORM, (head_dim,)),
        ]
    return [_tensor(f"model.layers.{layer}.{n}", role, layer, *shape) for n, role, shape in shapes]


def _tensor(stem: str, role: Role, layer: int | None, *shape: int) -> TensorSpec:
    name = stem if stem.endswith(".bias") else f"{stem}.weight"
    return TensorSpec(name, role, layer, shape, DType.BF16)
