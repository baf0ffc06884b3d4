"""One row of a format table: how weights or KV cache entries lie in memory."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

from edgellm.backends import Backend
from edgellm.errors import UnsupportedError, UsageError


@dataclass(frozen=True, slots=True)
class WeightFormat:
    """A weight format: `block` consecutive weights of a row share `block_bytes` bytes."""

    name: str  # ggml's own type name, such as "q4_K"
    ggml_type: int
    block: int  # weights per block; a row must be a multiple of it
    block_bytes: int  # scales and packed codes together
    fallback: str | None  # format for rows that do not divide, as llama.cpp chooses it
    needs_imatrix: bool  # its rounding is unusable without measured input statistics
    relative_rmse: float  # rms error / rms weight on Gaussian weights
    plannable: bool  # worth offering to the planner; the rest are for fallbacks and naming by hand
    reason: str  # why it is not plannable; empty when it is

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.block_bytes / self.block

    def divides(self, columns: int) -> bool:
        return columns % self.block == 0

    def tensor_bytes(self, shape: tuple[int, ...]) -> int:
        """Bytes of a tensor whose last dimension is the row; the row must divide."""
        if not self.divides(shape[-1]):
            raise UnsupportedError(
                f"rows of {shape[-1]} weights in {self.name} blocks of {self.block}"
            )
        return prod(shape) // self.block * self.block_bytes


@dataclass(frozen=True, slots=True)
class KVFormat:
    """A format of K or V cache entries; a head must be a multiple of `block` elements."""

    name: str  # ggml's own type name
    ggml_type: int
    block: int
    block_bytes: int
    needs_flash_attention_for_v: bool  # a quantized V needs flash attention in llama.cpp
    cpu_only: bool  # no other backend of llama.cpp writes it

    @property
    def bits_per_element(self) -> float:
        return 8 * self.block_bytes / self.block

    def divides(self, head_dim: int) -> bool:
        return head_dim % self.block == 0

    def row_bytes(self, elements: int) -> int:
        return elements // self.block * self.block_bytes


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """What an engine needs besides weights and KV cache, and how it rounds sizes up."""

    name: str
    process_bytes: int  # resident before a model is loaded, and what the engine's code adds
    reserve_bytes: int  # kept free for what differs between machines
    layer_bytes: int  # bookkeeping of one decoder block
    byte_level_bytes: int  # a byte-level BPE vocabulary, whatever its size
    byte_level_token_bytes: int  # one of its tokens, with its merge
    piece_bytes: int  # one token of a sentencepiece vocabulary
    token_loading_bytes: int  # one token of any vocabulary, until the model is loaded
    prompt_token_bytes: int  # one token of a prompt: its text and its id, outside the engine
    context_multiple: int  # tokens the KV cache is padded to
    tensor_alignment: int  # bytes each tensor's size is padded to
    ubatches: tuple[int, ...]  # tokens computed at once, largest first
    repacked_x86_64: tuple[str, ...]  # weight formats that are rearranged at load
    repacked_arm64: tuple[str, ...]

    def padded_context(self, context: int) -> int:
        return _round_up(context, self.context_multiple)

    def padded_tensor_bytes(self, tensor_bytes: int) -> int:
        return _round_up(tensor_bytes, self.tensor_alignment)

    def repacks(self, weight_format: str, machine: str) -> bool:
        """Whether a format is rearranged at load; machine: as `platform.machine` names it."""
        is_arm = machine.lower() in ("arm64", "aarch64")
        return weight_format in (self.repacked_arm64 if is_arm else self.repacked_x86_64)


@dataclass(frozen=True, slots=True)
class StaticPriors:
    """What noise costs by role and depth, before anything about a model is measured.

    Each figure is the KL divergence, in nats per token, that relative error power 1 would cost if
    the divergence went on growing linearly.
    """

    roles: Mapping[str, float]  # by Role value; for one block, or for the embedding or output head
    first_layer: float  # the first block's sensitivity over a middle block's
    last_layer: float
    key_cache: float  # K of one block
    value_cache: float


@dataclass(frozen=True, slots=True)
class Tables:
    """Every table of `quant_tables/`, checked; keys are the rows' names."""

    weight_formats: Mapping[str, WeightFormat]
    kv_formats: Mapping[str, KVFormat]
    kv_pairs: tuple[tuple[str, str], ...]  # (K, V) format names to choose from, most bits first
    engines: Mapping[str, EngineFacts]
    priors: StaticPriors
    backends: Mapping[str, Backend]

    def weight_format(self, name: str) -> WeightFormat:
        """The row called `name`, in any letter case. Raises UsageError."""
        by_lower = {row.lower(): fmt for row, fmt in self.weight_formats.items()}
        if found := by_lower.get(name.lower()):
            return found
        known = ", ".join(self.weight_formats)
        raise UsageError(f"weight format {name!r} is unknown; known formats: {known}")

    def pairs_for_heads(self, head_dim: int) -> list[tuple[KVFormat, KVFormat]]:
        """The (K, V) pairs whose blocks divide a head of `head_dim` elements, most bits first."""
        named = ((self.kv_formats[key], self.kv_formats[value]) for key, value in self.kv_pairs)
        return [pair for pair in named if all(fmt.divides(head_dim) for fmt in pair)]

    def format_for_rows(self, name: str, columns: int) -> WeightFormat:
        """The format `name`, or what replaces it for rows of `columns` weights."""
        fmt = self.weight_formats[name]
        while not fmt.divides(columns):
            assert fmt.fallback is not None, "only formats of block 1 have no fallback"
            fmt = self.weight_formats[fmt.fallback]
        return fmt


def _round_up(count: int, multiple: int) -> int:
    return -(-count // multiple) * multiple
