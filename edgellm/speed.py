"""How fast a model decodes: seconds of its parts, measured once on a machine, added up by plan.

A token's time is the sum of what it reads (each matrix once, the attended part of the KV cache)
and of a fixed part for each layer and for the token. Picking a token from the logits is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edgellm.errors import UnsupportedError
from edgellm.jsonfields import JsonObject
from edgellm.plan import Plan
from edgellm.spec import ModelSpec, Role, TensorSpec

QUIET_SPREAD = 0.25  # above it, something else kept the processor busy meanwhile
CONTEXT_FILL = 0.5  # share of the context that holds tokens where a speed is stated
SMALLEST_WEIGHTS_BYTES, LARGEST_WEIGHTS_BYTES = 1 << 20, 64 << 20


@dataclass(frozen=True, slots=True)
class DecodeShape:
    """What of a model the measured seconds depend on."""

    heads: int
    kv_heads: int
    head_dim: int
    # Of the matrices at 8 bits each, as a power of two, and not above what no cache holds: a
    # small model is read from the processor's caches, a large one from memory.
    weights_bytes: int

    @classmethod
    def of(cls, spec: ModelSpec) -> "DecodeShape":
        weights = sum(t.elements for t in spec.tensors if is_multiplied(spec, t))
        rounded = 1 << max(weights - 1, 0).bit_length()
        bounded = min(max(rounded, SMALLEST_WEIGHTS_BYTES), LARGEST_WEIGHTS_BYTES)
        return cls(spec.heads, spec.kv_heads, spec.head_dim, bounded)

    def to_json(self) -> dict[str, int]:
        return {
            "heads": self.heads,
            "kv_heads": self.kv_heads,
            "head_dim": self.head_dim,
            "weights_bytes": self.weights_bytes,
        }

    @classmethod
    def read(cls, fields: JsonObject) -> "DecodeShape":
        names = ("heads", "kv_heads", "head_dim", "weights_bytes")
        fields.only(*names)
        return cls(*(fields.integer(name, least=1) for name in names))


@dataclass(frozen=True, slots=True)
class DecodeSpeed:
    """What decoding costs on one machine with one number of threads."""

    threads: int
    shape: DecodeShape  # what it was measured for
    weight_seconds: Mapping[str, float]  # to multiply by one weight, by weight format
    # To attend to one cached token in one layer, by K format, then by V format.
    attention_seconds: Mapping[str, Mapping[str, float]]
    layer_seconds: float  # of one layer besides its matrices and its cache
    token_seconds: float  # of one token besides its layers
    spread: float  # how far the typical sample lay above the figure, as a share; median of all

    @property
    def is_quiet(self) -> bool:
        """Whether the machine had little else to do; if not, the figures are too slow."""
        return self.spread <= QUIET_SPREAD

    def tensor_seconds(self, spec: ModelSpec, tensor: TensorSpec, weight_format: str) -> float:
        """Seconds that a tensor in `weight_format`, a row's name, adds to each token.

        Looking up an embedding and applying a vector cost nothing here. Raises UnsupportedError.
        """
        if not is_multiplied(spec, tensor):
            return 0.0
        if weight_format not in self.weight_seconds:
            raise UnsupportedError(
                f"speed of weight format {weight_format}", [*self.weight_seconds]
            )
        return tensor.elements * self.weight_seconds[weight_format]

    def kv_seconds(self, spec: ModelSpec, key: str, value: str, tokens: float) -> float:
        """Seconds that reading a KV cache of `tokens` adds to each token. Raises UnsupportedError.

        key, value: names of rows of the table of KV formats.
        """
        seconds = self.attention_seconds.get(key, {}).get(value)
        if seconds is None:
            measured = [f"{k}/{v}" for k, row in self.attention_seconds.items() for v in row]
            raise UnsupportedError(f"speed of a KV cache in {key}/{value}", measured)
        attended = tokens if spec.sliding_window is None else min(tokens, spec.sliding_window)
        return spec.layers * attended * seconds

    def fixed_seconds(self, spec: ModelSpec) -> float:
        """Seconds of each token that no choice of formats changes."""
        return self.token_seconds + spec.layers * self.layer_seconds

    def decode_seconds(
        self, spec: ModelSpec, formats: Mapping[str, str], key: str, value: str, tokens: float
    ) -> float:
        """Seconds of one token after `tokens` others.

        formats: the row of weight formats by tensor name, one for each matrix.
        """
        matrices = [tensor for tensor in spec.tensors if is_multiplied(spec, tensor)]
        weights = sum(self.tensor_seconds(spec, t, formats[t.name]) for t in matrices)
        return weights + self.kv_seconds(spec, key, value, tokens) + self.fixed_seconds(spec)

    def tokens_per_s(self, spec: ModelSpec, plan: Plan) -> float:
        """Tokens a second that `plan` decodes where its context is CONTEXT_FILL full."""
        formats = {choice.name: choice.format for choice in plan.tensors}
        kv = plan.kv
        tokens = CONTEXT_FILL * kv.context
        return 1 / self.decode_seconds(spec, formats, kv.key_format, kv.value_format, tokens)

    def to_json(self) -> dict[str, Any]:
        return {
            "threads": self.threads,
            "shape": self.shape.to_json(),
            "weight_seconds": dict(self.weight_seconds),
            "attention_seconds": {key: dict(row) for key, row in self.attention_seconds.items()},
            "layer_seconds": self.layer_seconds,
            "token_seconds": self.token_seconds,
            "spread": self.spread,
        }

    @classmethod
    def from_json(cls, document: object, source: str) -> "DecodeSpeed":
        """Read what `to_json` wrote; `source` names the file in errors. Raises FormatError."""
        top = JsonObject.at(source, "", document)
        top.only(*cls.__dataclass_fields__)
        attention = top.child("attention_seconds")
        return cls(
            threads=top.integer("threads", least=1),
            shape=DecodeShape.read(top.child("shape")),
            weight_seconds=_numbers(top.child("weight_seconds")),
            attention_seconds=MappingProxyType(
                {key: _numbers(attention.child(key)) for key in attention.values}
            ),
            layer_seconds=top.number("layer_seconds"),
            token_seconds=top.number("token_seconds"),
            spread=top.number("spread"),
        )


def is_multiplied(spec: ModelSpec, tensor: TensorSpec) -> bool:
    """Whether each token reads the whole of a tensor; an embedding only where it is the head."""
    is_lookup = tensor.role is Role.TOKEN_EMBEDDING and not spec.tied_embeddings
    return tensor.is_matrix and not is_lookup


def _numbers(fields: JsonObject) -> Mapping[str, float]:
    return MappingProxyType({key: fields.number(key) for key in fields.values})
