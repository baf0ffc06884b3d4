"""What a model is: dimensions and every tensor with its role, layer and shape."""

from dataclasses import dataclass
from enum import StrEnum
from math import prod


class DType(StrEnum):
    """Element types a checkpoint may store its weights in."""

    F32 = "F32"
    F16 = "F16"
    BF16 = "BF16"

    @property
    def item_bytes(self) -> int:
        return 4 if self is DType.F32 else 2


class Role(StrEnum):
    """What a tensor does in a decoder; the names converters, priors and reports share."""

    TOKEN_EMBEDDING = "token_embedding"
    OUTPUT = "output"  # the head that makes logits; absent when tied to the embedding
    OUTPUT_NORM = "output_norm"
    ATTN_NORM = "attn_norm"
    ATTN_Q = "attn_q"
    ATTN_K = "attn_k"
    ATTN_V = "attn_v"
    ATTN_OUTPUT = "attn_output"
    ATTN_Q_BIAS = "attn_q_bias"
    ATTN_K_BIAS = "attn_k_bias"
    ATTN_V_BIAS = "attn_v_bias"
    ATTN_OUTPUT_BIAS = "attn_output_bias"
    ATTN_Q_NORM = "attn_q_norm"
    ATTN_K_NORM = "attn_k_norm"
    FFN_NORM = "ffn_norm"
    FFN_GATE = "ffn_gate"
    FFN_UP = "ffn_up"
    FFN_DOWN = "ffn_down"
    FFN_GATE_BIAS = "ffn_gate_bias"
    FFN_UP_BIAS = "ffn_up_bias"
    FFN_DOWN_BIAS = "ffn_down_bias"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One tensor of a checkpoint."""

    name: str  # as the checkpoint calls it
    role: Role
    layer: int | None  # None outside the decoder blocks
    shape: tuple[int, ...]  # [rows, columns] for a matrix; columns are the input channels
    dtype: DType  # as stored

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def is_matrix(self) -> bool:
        """Whether this tensor may take a quantized format; vectors always stay F32."""
        return len(self.shape) == 2


@dataclass(frozen=True, slots=True)
class RopeScaling:
    """How rotary positions are stretched beyond the trained context.

    kind "linear" divides every frequency by `factor`; "llama3" divides the low frequencies only
    (Llama 3.1, transformers `_compute_llama3_parameters`), the last three fields being its bounds.
    """

    kind: str
    factor: float
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_context: int = 0  # tokens


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """What a model is; one value drives the converter, the memory plan and the runtime."""

    family: str  # a key of edgellm.families.FAMILIES
    name: str  # what to call it; the folder's name
    layers: int
    hidden_size: int
    ffn_size: int
    heads: int
    kv_heads: int
    head_dim: int
    vocab_size: int
    context_length: int  # tokens the model was trained or scaled for
    norm_epsilon: float
    rope_theta: float
    rope_scaling: RopeScaling | None
    tied_embeddings: bool
    sliding_window: int | None  # tokens; None when every layer attends to everything
    tensors: tuple[TensorSpec, ...]
    sentencepiece: bool = False  # the vocabulary is a sentencepiece model, which has no merges
    notices: tuple[str, ...] = ()  # what the checkpoint says that was read another way, and why

    @property
    def parameters(self) -> int:
        return sum(tensor.elements for tensor in self.tensors)

    @property
    def kv_width(self) -> int:
        """Elements of K (and of V) that one token adds in one layer."""
        return self.kv_heads * self.head_dim
