"""What `inspect` says of a checkpoint, as JSON and as lines of text."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from edgellm.checkpoint import Checkpoint
from edgellm.families import read_spec
from edgellm.spec import ModelSpec, TensorSpec
from edgellm.tokenizer.facts import TokenizerFacts, describe_tokenizer
from edgellm.units import format_bytes


@dataclass(frozen=True, slots=True)
class CheckpointReport:
    """A checkpoint's model, tokenizer, and what was ignored in it."""

    spec: ModelSpec
    tokenizer: TokenizerFacts
    notices: tuple[str, ...]

    @classmethod
    def of(cls, checkpoint: Checkpoint) -> "CheckpointReport":
        spec = read_spec(checkpoint)
        return cls(spec, describe_tokenizer(checkpoint), (*checkpoint.notices, *spec.notices))

    @property
    def stored_bytes(self) -> int:
        """Bytes the tensors take as stored."""
        return sum(tensor.elements * tensor.dtype.item_bytes for tensor in self.spec.tensors)

    def to_json(self) -> dict[str, Any]:
        """Everything that is known, with the documented keys."""
        return {
            **asdict(self.spec),
            "parameters": self.spec.parameters,
            "bytes": self.stored_bytes,
            "tensors": [_tensor_json(tensor) for tensor in self.spec.tensors],
            "tokenizer": asdict(self.tokenizer),
            "supported": {"gguf": self.tokenizer.problem is None, "onnx": False, "t4": False},
            "notices": list(self.notices),
        }

    def lines(self) -> Iterator[str]:
        """The report for people."""
        spec = self.spec
        dtypes = ", ".join(Counter(tensor.dtype for tensor in spec.tensors))
        stored = f"{format_bytes(self.stored_bytes)} in {len(spec.tensors)} tensors, {dtypes}"
        yield f"{spec.name}: {spec.family} family, {spec.parameters:,} parameters"
        yield f"  stored     {stored}"
        yield f"  layers     {spec.layers}, hidden {spec.hidden_size}, feed-forward {spec.ffn_size}"
        yield f"  attention  {spec.heads} heads of {spec.head_dim}, {spec.kv_heads} KV heads"
        yield f"  context    {spec.context_length} tokens{_window(spec)}"
        yield f"  rope       theta {spec.rope_theta:g}{_scaling(spec)}"
        yield from _tokenizer_lines(self.tokenizer)
        yield f"  becomes    {'gguf' if self.tokenizer.problem is None else 'nothing'}"
        for text in self.notices:
            yield f"  note       {text}"


def _tensor_json(tensor: TensorSpec) -> dict[str, Any]:
    return {
        "name": tensor.name,
        "role": tensor.role,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
    }


def _window(spec: ModelSpec) -> str:
    return "" if spec.sliding_window is None else f", sliding window {spec.sliding_window}"


def _scaling(spec: ModelSpec) -> str:
    rope = spec.rope_scaling
    return "" if rope is None else f", {rope.kind} scaling by {rope.factor:g}"


def _tokenizer_lines(tokenizer: TokenizerFacts) -> Iterator[str]:
    template = "with" if tokenizer.has_chat_template else "without"
    source = f" from {tokenizer.source}, {template} a chat template" if tokenizer.source else ""
    yield f"  tokenizer  {tokenizer.kind}{source}"
    if tokenizer.also_present:
        difference = tokenizer.differs or "says the same"
        yield f"             {tokenizer.also_present} is not used: {difference}"
    if tokenizer.problem:
        yield f"             {tokenizer.problem}"
