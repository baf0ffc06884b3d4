"""A plan: every decision about a conversion and the memory it will take."""

from dataclasses import dataclass
from typing import Any

from edgellm.errors import FormatError


@dataclass(frozen=True, slots=True)
class Budget:
    """What the user allows: bytes for everything, or for the weights alone, and a context."""

    context: int  # tokens the KV cache holds
    memory_bytes: int | None = None  # weights, KV cache, compute buffers and overhead together
    weights_bytes: int | None = None  # cap on the weights alone
    target_bpw: float | None = None  # cap on bits per weight, averaged over every weight


@dataclass(frozen=True, slots=True)
class MemoryParts:
    """Predicted bytes by component; measured reports use the same names."""

    weights_bytes: int
    kv_cache_bytes: int
    compute_bytes: int  # the engine's scratch for one ubatch, and the logits
    overhead_bytes: int  # the process before it loads a model

    @property
    def total_bytes(self) -> int:
        return self.weights_bytes + self.kv_cache_bytes + self.compute_bytes + self.overhead_bytes


@dataclass(frozen=True, slots=True)
class TensorChoice:
    """The format of one tensor and the bytes it takes in the file."""

    name: str  # as the checkpoint calls it
    format: str  # a row of quant_tables/weight_formats.toml
    bytes: int


@dataclass(frozen=True, slots=True)
class KVPlan:
    """K and V formats and the context they are sized for."""

    key_format: str
    value_format: str
    bits_per_element: float  # mean over K and V
    context: int  # tokens


@dataclass(frozen=True, slots=True)
class Plan:
    """Every decision about one conversion; `to_json` and `from_json` are exact inverses."""

    engine: str
    budget_bytes: int  # what was allowed, or what the plan needs where nothing was given
    ubatch: int  # tokens the engine computes at once
    memory: MemoryParts
    tensors: tuple[TensorChoice, ...]
    bits_per_weight: float  # over every tensor of the model
    kv: KVPlan
    sensitivity: str  # which mode judged the tensors: "static", or "uniform" for one format
    predicted_kl_divergence: float | None  # nats per token; None when nothing was estimated
    predicted_tokens_per_s: float | None  # None until a benchmark has measured this machine

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON types, with the keys of `edgellm plan --json`."""
        raise NotImplementedError

    @classmethod
    def from_json(cls, document: object, source: str) -> "Plan":
        """Read what `to_json` wrote; `source` names the file in errors. Raises FormatError."""
        raise FormatError(source, "not a plan")
