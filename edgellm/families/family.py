"""What a family declares: names, defaults and the tensors of a decoder block."""

from dataclasses import dataclass
from enum import Enum, StrEnum

from edgellm.spec import Role


class Dim(Enum):
    """A dimension of a tensor's shape, by what it counts."""

    VOCAB = "vocab_size"
    HIDDEN = "hidden_size"
    FFN = "ffn_size"
    QUERY = "heads * head_dim"
    KEY_VALUE = "kv_heads * head_dim"
    HEAD = "head_dim"


class SlidingWindow(StrEnum):
    """How config.json states which layers attend to the last `sliding_window` tokens only."""

    NEVER = "never"
    EVERY_LAYER = "every layer"  # Mistral: wherever sliding_window is a number
    CHOSEN_LAYERS = "chosen layers"  # Qwen: use_sliding_window with layer_types or a first layer


@dataclass(frozen=True, slots=True)
class LayerTensor:
    """One tensor of each decoder block."""

    suffix: str  # after "model.layers.N."
    role: Role
    shape: tuple[Dim, ...]
    switch: str | None = None  # the boolean of config.json that adds it; None: always there


@dataclass(frozen=True, slots=True)
class Family:
    """A family of decoders: how to recognise it and what its checkpoints hold.

    The defaults are what transformers assumes where config.json leaves the key out.
    """

    name: str
    title: str  # for people
    model_types: tuple[str, ...]
    architectures: tuple[str, ...]
    gguf_architecture: str  # general.architecture in GGUF
    interleaves_rope: bool  # GGUF wants rows of Q and K permuted so that rotated pairs are adjacent
    layer_tensors: tuple[LayerTensor, ...]
    default_context: int
    default_kv_heads: int | None = None  # None: as many as heads
    default_head_dim: int | None = None  # None: hidden_size / heads
    default_sliding_window: int | None = None
    sliding_window: SlidingWindow = SlidingWindow.NEVER


ATTN_NORM = LayerTensor("input_layernorm.weight", Role.ATTN_NORM, (Dim.HIDDEN,))
QKV = (
    LayerTensor("self_attn.q_proj.weight", Role.ATTN_Q, (Dim.QUERY, Dim.HIDDEN)),
    LayerTensor("self_attn.k_proj.weight", Role.ATTN_K, (Dim.KEY_VALUE, Dim.HIDDEN)),
    LayerTensor("self_attn.v_proj.weight", Role.ATTN_V, (Dim.KEY_VALUE, Dim.HIDDEN)),
)
ATTN_OUTPUT = LayerTensor("self_attn.o_proj.weight", Role.ATTN_OUTPUT, (Dim.HIDDEN, Dim.QUERY))
QK_NORM = (
    LayerTensor("self_attn.q_norm.weight", Role.ATTN_Q_NORM, (Dim.HEAD,)),
    LayerTensor("self_attn.k_norm.weight", Role.ATTN_K_NORM, (Dim.HEAD,)),
)
FFN = (
    LayerTensor("post_attention_layernorm.weight", Role.FFN_NORM, (Dim.HIDDEN,)),
    LayerTensor("mlp.gate_proj.weight", Role.FFN_GATE, (Dim.FFN, Dim.HIDDEN)),
    LayerTensor("mlp.up_proj.weight", Role.FFN_UP, (Dim.FFN, Dim.HIDDEN)),
    LayerTensor("mlp.down_proj.weight", Role.FFN_DOWN, (Dim.HIDDEN, Dim.FFN)),
)


def qkv_bias(switch: str | None = None) -> tuple[LayerTensor, ...]:
    return (
        LayerTensor("self_attn.q_proj.bias", Role.ATTN_Q_BIAS, (Dim.QUERY,), switch),
        LayerTensor("self_attn.k_proj.bias", Role.ATTN_K_BIAS, (Dim.KEY_VALUE,), switch),
        LayerTensor("self_attn.v_proj.bias", Role.ATTN_V_BIAS, (Dim.KEY_VALUE,), switch),
    )


def attn_output_bias(switch: str) -> LayerTensor:
    return LayerTensor("self_attn.o_proj.bias", Role.ATTN_OUTPUT_BIAS, (Dim.HIDDEN,), switch)


def ffn_bias(switch: str) -> tuple[LayerTensor, ...]:
    return (
        LayerTensor("mlp.gate_proj.bias", Role.FFN_GATE_BIAS, (Dim.FFN,), switch),
        LayerTensor("mlp.up_proj.bias", Role.FFN_UP_BIAS, (Dim.FFN,), switch),
        LayerTensor("mlp.down_proj.bias", Role.FFN_DOWN_BIAS, (Dim.HIDDEN,), switch),
    )
