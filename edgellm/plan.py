"""A plan: every decision about a conversion and the memory it will take."""

from dataclasses import dataclass
from typing import Any, Literal

from edgellm.errors import BudgetError, FormatError
from edgellm.jsonfields import JsonObject
from edgellm.units import format_bytes

# Whether predicted quality may be given for speed: not at all, a little, or more.
Preference = Literal["quality", "balanced", "speed"]
PREFERENCES: tuple[Preference, ...] = ("quality", "balanced", "speed")
DEFAULT_CONTEXT = 4096  # tokens, where nobody asks for more; what a model allows may be huge


@dataclass(frozen=True, slots=True)
class Budget:
    """What the user allows: bytes for everything, or for the weights alone, a context, a pace."""

    context: int  # tokens the KV cache holds
    memory_bytes: int | None = None  # weights, KV cache, compute buffers and overhead together
    weights_bytes: int | None = None  # cap on the weights alone
    target_bpw: float | None = None  # cap on bits per weight, averaged over every weight
    min_tokens_per_s: float | None = None  # decoding one conversation
    preference: Preference = "quality"


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

    def __add__(self, other: "MemoryParts") -> "MemoryParts":
        return MemoryParts(
            self.weights_bytes + other.weights_bytes,
            self.kv_cache_bytes + other.kv_cache_bytes,
            self.compute_bytes + other.compute_bytes,
            self.overhead_bytes + other.overhead_bytes,
        )

    def to_json(self) -> dict[str, int]:
        return {
            "weights_bytes": self.weights_bytes,
            "kv_cache_bytes": self.kv_cache_bytes,
            "compute_bytes": self.compute_bytes,
            "overhead_bytes": self.overhead_bytes,
            "total_bytes": self.total_bytes,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> "MemoryParts":
        names = ("weights_bytes", "kv_cache_bytes", "compute_bytes", "overhead_bytes")
        fields.only(*names, "total_bytes")
        parts = cls(*(fields.integer(name) for name in names))
        if fields.integer("total_bytes") != parts.total_bytes:
            problem = f"is not the sum of its parts, {parts.total_bytes}"
            raise FormatError(fields.source, f"{fields.path}.total_bytes {problem}")
        return parts


def over_budget(
    what: str, memory: MemoryParts, budget_bytes: int, next_step: str = "plan it again"
) -> BudgetError:
    """The refusal of something that is made already and takes more than is allowed now."""
    return BudgetError(
        f"{what} needs {format_bytes(memory.total_bytes)}, the budget is "
        f"{format_bytes(budget_bytes)}; {next_step}",
        needed_bytes=memory.total_bytes,
        budget_bytes=budget_bytes,
        largest_context=0,
        parts=memory.to_json(),
    )


@dataclass(frozen=True, slots=True)
class TensorChoice:
    """The format of one tensor and the bytes it takes in the file."""

    name: str  # as the checkpoint calls it
    format: str  # a row of quant_tables/weight_formats.toml
    bytes: int

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "format": self.format, "bytes": self.bytes}

    @classmethod
    def read(cls, fields: JsonObject) -> "TensorChoice":
        fields.only("name", "format", "bytes")
        return cls(fields.text("name"), fields.text("format"), fields.integer("bytes"))


@dataclass(frozen=True, slots=True)
class KVPlan:
    """K and V formats and the context they are sized for."""

    key_format: str
    value_format: str
    bits_per_element: float  # mean over K and V
    context: int  # tokens

    def to_json(self) -> dict[str, Any]:
        return {
            "key_format": self.key_format,
            "value_format": self.value_format,
            "bits_per_element": self.bits_per_element,
            "context": self.context,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> "KVPlan":
        fields.only("key_format", "value_format", "bits_per_element", "context")
        return cls(
            key_format=fields.text("key_format"),
            value_format=fields.text("value_format"),
            bits_per_element=fields.number("bits_per_element"),
            context=fields.integer("context", least=1),
        )


@dataclass(frozen=True, slots=True)
class Trial:
    """What the plan and a static plan of equal bytes really lost, on the same text."""

    kl_divergence: float  # nats per token, of the plan that the measurements led to
    static_kl_divergence: float
    tokens: int

    @property
    def static_won(self) -> bool:
        """Whether the static plan was better, and was taken."""
        return self.static_kl_divergence < self.kl_divergence

    def to_json(self) -> dict[str, Any]:
        return {
            "kl_divergence": self.kl_divergence,
            "static_kl_divergence": self.static_kl_divergence,
            "tokens": self.tokens,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> "Trial":
        fields.only("kl_divergence", "static_kl_divergence", "tokens")
        return cls(
            fields.number("kl_divergence"),
            fields.number("static_kl_divergence"),
            fields.integer("tokens"),
        )


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
    sensitivity: (
        str  # which mode judged the tensors: "static", "noise", or "uniform" for one format
    )
    predicted_kl_divergence: float | None  # nats per token; None when nothing was estimated
    predicted_tokens_per_s: float | None  # None where this machine was not measured
    trial: Trial | None = None  # None where no statistics of the model were measured

    @property
    def fits(self) -> bool:
        return self.memory.total_bytes <= self.budget_bytes

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON types, with the keys of `edgellm plan --json`."""
        return {
            "fits": self.fits,
            "engine": self.engine,
            "budget_bytes": self.budget_bytes,
            "ubatch": self.ubatch,
            "memory": self.memory.to_json(),
            "weights": {
                "bits_per_weight": self.bits_per_weight,
                "tensors": [tensor.to_json() for tensor in self.tensors],
            },
            "kv": self.kv.to_json(),
            "sensitivity": self.sensitivity,
            "predicted": {
                "kl_divergence": self.predicted_kl_divergence,
                "tokens_per_s": self.predicted_tokens_per_s,
            },
            "trial": None if self.trial is None else self.trial.to_json(),
        }

    @classmethod
    def from_json(cls, document: object, source: str) -> "Plan":
        """Read what `to_json` wrote; `source` names the file in errors. Raises FormatError."""
        top = JsonObject.at(source, "", document)
        top.only(
            "fits",
            "engine",
            "budget_bytes",
            "ubatch",
            "memory",
            "weights",
            "kv",
            "sensitivity",
            "predicted",
            "trial",
        )
        weights = top.child("weights").only("bits_per_weight", "tensors")
        predicted = top.child("predicted").only("kl_divergence", "tokens_per_s")
        plan = cls(
            engine=top.text("engine"),
            budget_bytes=top.integer("budget_bytes"),
            ubatch=top.integer("ubatch", least=1),
            memory=MemoryParts.read(top.child("memory")),
            tensors=_read_tensors(weights),
            bits_per_weight=weights.number("bits_per_weight"),
            kv=KVPlan.read(top.child("kv")),
            sensitivity=top.text("sensitivity"),
            predicted_kl_divergence=predicted.number_or_null("kl_divergence"),
            predicted_tokens_per_s=predicted.number_or_null("tokens_per_s"),
            trial=Trial.read(top.child("trial")) if top.has("trial") else None,
        )
        if top.flag("fits") != plan.fits:
            raise FormatError(source, "fits contradicts budget_bytes and memory.total_bytes")
        return plan


def _read_tensors(weights: JsonObject) -> tuple[TensorChoice, ...]:
    tensors = tuple(TensorChoice.read(row) for row in weights.children("tensors"))
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.name in seen:
            raise FormatError(weights.source, f"weights.tensors names {tensor.name} twice")
        seen.add(tensor.name)
    return tensors
