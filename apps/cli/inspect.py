"""`edgellm inspect`: what a checkpoint is."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from edgellm.apps.cli.options import CheckpointArgument, Json, Offline
from edgellm.apps.cli.output import print_json
from edgellm.spec import ModelSpec
from edgellm.tokenizer import TokenizerFacts
from edgellm.units import format_bytes


def command(ckpt: CheckpointArgument, offline: Offline = False, json: Json = False) -> None:
    """Show what a checkpoint is: family, size, tensors, tokenizer, what it can become."""
    from edgellm.apps.cli.models import open_reference
    from edgellm.families import read_spec
    from edgellm.tokenizer import describe_tokenizer

    checkpoint = open_reference(ckpt, offline=offline)
    spec = read_spec(checkpoint)
    tokenizer = describe_tokenizer(checkpoint)
    if json:
        print_json(report_json(spec, tokenizer, checkpoint.notices))
        return
    for line in report_lines(spec, tokenizer, checkpoint.notices):
        print(line)


def report_json(
    spec: ModelSpec, tokenizer: TokenizerFacts, notices: Sequence[str]
) -> dict[str, Any]:
    """Everything `inspect` knows, with the documented keys."""
    facts = asdict(spec)
    facts["parameters"] = spec.parameters
    facts["bytes"] = stored_bytes(spec)
    facts["tensors"] = [
        {
            "name": tensor.name,
            "role": tensor.role,
            "shape": list(tensor.shape),
            "dtype": tensor.dtype,
        }
        for tensor in spec.tensors
    ]
    facts["tokenizer"] = asdict(tokenizer)
    facts["supported"] = {"gguf": tokenizer.problem is None, "onnx": False, "t4": False}
    facts["notices"] = list(notices)
    return facts


def stored_bytes(spec: ModelSpec) -> int:
    """Bytes the checkpoint's tensors take as stored."""
    return sum(tensor.elements * tensor.dtype.item_bytes for tensor in spec.tensors)


def report_lines(
    spec: ModelSpec, tokenizer: TokenizerFacts, notices: Sequence[str]
) -> Iterator[str]:
    """The report for people; every line fits 80 columns."""
    dtypes = ", ".join(Counter(tensor.dtype for tensor in spec.tensors))
    yield f"{spec.name}: {spec.family} family, {spec.parameters:,} parameters"
    stored = format_bytes(stored_bytes(spec))
    yield f"  stored     {stored} in {len(spec.tensors)} tensors, {dtypes}"
    yield f"  shape      {spec.layers} layers of {spec.hidden_size}, feed-forward {spec.ffn_size}"
    yield f"  attention  {spec.heads} heads of {spec.head_dim}, {spec.kv_heads} KV heads (GQA)"
    yield f"  context    {spec.context_length} tokens{window(spec)}"
    yield f"  rope       theta {spec.rope_theta:g}{scaling(spec)}"
    yield from tokenizer_lines(tokenizer)
    yield f"  becomes    {'gguf' if tokenizer.problem is None else 'nothing'}"
    for text in notices:
        yield f"  note       {text}"


def window(spec: ModelSpec) -> str:
    return "" if spec.sliding_window is None else f", sliding window {spec.sliding_window}"


def scaling(spec: ModelSpec) -> str:
    rope = spec.rope_scaling
    return "" if rope is None else f", {rope.kind} scaling by {rope.factor:g}"


def tokenizer_lines(tokenizer: TokenizerFacts) -> Iterator[str]:
    template = "with" if tokenizer.has_chat_template else "without"
    yield f"  tokenizer  {tokenizer.kind} from {tokenizer.source}, {template} a chat template"
    if tokenizer.differs:
        yield f"             {tokenizer.also_present} differs: {tokenizer.differs}"
    if tokenizer.problem:
        yield f"             {tokenizer.problem}"
