"""What must hold before llama.cpp sees a model: it aborts the process where it should refuse."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgellm.errors import FormatError, UnsupportedError, UsageError
from edgellm.formats import KVFormat
from edgellm.gguf_file import GGUFFile
from edgellm.quant_tables import load_kv_formats

MAX_LAYERS = 512
MAX_EXPERTS = 1024
ROPE_SCALINGS = ("none", "linear", "yarn", "longrope")
# ggml types without a matrix product: q8_1, q8_K, i8, i16, i32, i64, f64.
_NOT_FOR_MATRICES = frozenset({9, 15, 24, 25, 26, 27, 28})
_F32 = 0
DEFAULT_KV_FORMAT, FALLBACK_KV_FORMAT = "q8_0", "f16"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """The dimensions that loading depends on."""

    architecture: str
    layers: int
    key_head_dim: int
    value_head_dim: int
    trained_context: int  # tokens


@dataclass(frozen=True, slots=True)
class KVFormats:
    """Formats of the K and V cache."""

    key: KVFormat
    value: KVFormat


def allowed_kv_formats() -> Mapping[str, KVFormat]:
    """K and V formats that do not abort; llama.cpp's interface accepts more than it can run."""
    return load_kv_formats()


def read_facts(file: GGUFFile) -> ModelFacts:
    """Check the facts that llama.cpp asserts.

    Raises FormatError for impossible values, UnsupportedError for a file in several parts.
    """
    facts = _Facts(file)
    if file.metadata.get(f"{facts.architecture}.attention.causal") is False:
        raise UnsupportedError(
            f"{file.path}: {facts.architecture}, an encoder, which writes no text",
            ["decoders, which also embed texts"],
        )
    splits = file.metadata.get("split.count", 0)
    if isinstance(splits, int) and splits > 1:
        raise UnsupportedError(
            f"{file.path}: one of {splits} parts of a model",
            ["models in one file"],
            "Join the parts with llama-gguf-split --merge",
        )
    hidden = facts.number("embedding_length", 1, 1 << 24)
    layers = facts.number("block_count", 1, MAX_LAYERS)
    context = facts.number("context_length", 1, 1 << 31)
    heads = facts.heads("attention.head_count", layers)
    if "attention.head_count_kv" in facts:
        facts.heads("attention.head_count_kv", layers)
    head_dim = hidden // heads if heads else hidden
    facts.check_experts()
    facts.check_rope()
    return ModelFacts(
        architecture=facts.architecture,
        layers=layers,
        key_head_dim=facts.number("attention.key_length", 1, 1 << 16, head_dim),
        value_head_dim=facts.number("attention.value_length", 1, 1 << 16, head_dim),
        trained_context=context,
    )


def check_tensors(file: GGUFFile) -> None:
    """Raises UnsupportedError for a tensor whose type llama.cpp cannot compute with."""
    for tensor in file.tensors:
        if len(tensor.shape) == 1 and tensor.ggml_type != _F32:
            kind, have = "vector", ["f32"]
        elif len(tensor.shape) > 1 and tensor.ggml_type in _NOT_FOR_MATRICES:
            kind, have = "matrix", ["f32", "f16", "bf16", "quantized weight types"]
        else:
            continue
        what = f"{file.path}: {kind} {tensor.name!r} of ggml type {tensor.ggml_type}"
        raise UnsupportedError(what, have)


def choose_kv_formats(
    key: str | None, value: str | None, facts: ModelFacts, *, on_gpu: bool
) -> KVFormats:
    """The rows for the names; None takes the default that this model's heads allow.

    Raises UsageError for a name that is not on the list or cannot hold these heads.
    """
    return KVFormats(
        _kv_format("K", key, facts.key_head_dim, on_gpu),
        _kv_format("V", value, facts.value_head_dim, on_gpu),
    )


def _kv_format(side: str, name: str | None, head_dim: int, on_gpu: bool) -> KVFormat:
    formats = allowed_kv_formats()
    if name is None:
        default = formats[DEFAULT_KV_FORMAT]
        return default if default.divides(head_dim) else formats[FALLBACK_KV_FORMAT]
    if name not in formats:
        raise UsageError(f"{side} cache format {name!r}; known formats: {', '.join(formats)}")
    if not formats[name].divides(head_dim):
        usable = [known for known, row in formats.items() if row.divides(head_dim)]
        raise UsageError(
            f"{side} cache format {name} has blocks of {formats[name].block} elements, which do "
            f"not divide heads of {head_dim}; usable here: {', '.join(usable)}"
        )
    if on_gpu and formats[name].cpu_only:
        raise UsageError(f"{side} cache format {name} runs on the CPU only; give 0 GPU layers")
    return formats[name]


class _Facts:
    """Typed reads of the metadata under the architecture's prefix."""

    def __init__(self, file: GGUFFile) -> None:
        self._file = file
        architecture = file.metadata.get("general.architecture")
        if not isinstance(architecture, str) or not architecture:
            raise FormatError(file.path, "metadata lacks general.architecture")
        self.architecture = architecture

    def __contains__(self, key: str) -> bool:
        return f"{self.architecture}.{key}" in self._file.metadata

    @property
    def keeps_states(self) -> bool:
        """Whether layers may have no heads, being states: Mamba's and RWKV's."""
        return "ssm.inner_size" in self or "wkv.head_size" in self

    def number(self, key: str, least: int, most: int, default: int | None = None) -> int:
        name = f"{self.architecture}.{key}"
        value = self._file.metadata.get(name, default)
        if value is None:
            raise FormatError(self._file.path, f"metadata lacks {name}")
        if type(value) is not int or not least <= value <= most:
            raise FormatError(self._file.path, f"{name} is {value!r}; expected {least} to {most}")
        return value

    def heads(self, key: str, layers: int) -> int:
        """A head count, or one per layer, of which the first that is not 0 is returned.

        Layers that keep a state have 0; where all of them do, so is this.
        """
        name = f"{self.architecture}.{key}"
        value = self._file.metadata.get(name)
        least = 0 if self.keeps_states else 1
        if not isinstance(value, tuple):
            return self.number(key, least, 1 << 16)
        counts = [count for count in value if type(count) is int and 0 <= count <= 1 << 16]
        if len(counts) != layers or len(value) != layers or max(counts) < least:
            raise FormatError(self._file.path, f"{name} does not hold {layers} head counts")
        return next(filter(None, counts), 0)

    def check_experts(self) -> None:
        experts = self.number("expert_count", 0, MAX_EXPERTS, 0)
        if f"{self.architecture}.expert_used_count" in self._file.metadata or experts:
            self.number("expert_used_count", min(experts, 1), experts, 0)

    def check_rope(self) -> None:
        name = f"{self.architecture}.rope.scaling.type"
        scaling = self._file.metadata.get(name, "linear")
        if scaling not in ROPE_SCALINGS:
            raise FormatError(
                self._file.path, f"{name} is {scaling!r}; expected {', '.join(ROPE_SCALINGS)}"
            )
