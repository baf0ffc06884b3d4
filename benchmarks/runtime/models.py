"""Models of 0.5 and 1.5 billion random weights, made once and kept in a scratch folder."""

import shutil
from pathlib import Path

from benchmarks.memory.checkpoints import Shape, write_shape
from edgellm.checkpoint import Checkpoint, open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.families import read_spec
from edgellm.formats import Tables
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan, uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.spec import ModelSpec

CONTEXT = 4096
_MIXED_BPW = 4.5  # about as large as q4_K, so that both are as much work
# family, layers, hidden, ffn, heads, kv_heads, head_dim, vocab, tied, byte_level, zero; the small
# one is a little wider than Qwen2's, whose 896 columns no K-quant divides.
SIZES = {
    "0.5B": Shape("qwen2", 20, 1024, 4864, 16, 2, 64, 151936, True, True, False),
    "1.5B": Shape("qwen2", 28, 1536, 8960, 12, 2, 128, 151936, True, True, False),
}
PLANS = ("q4_K", "mixed")


def prepared(scratch: Path, size: str, plan_name: str) -> Path:
    """The GGUF file of one size and plan; converted unless the folder has it."""
    gguf = scratch / f"{size}-{plan_name}" / "model.gguf"
    if not gguf.exists():
        checkpoint = _checkpoint(scratch, size)
        spec, tables = read_spec(checkpoint), load_tables()
        plan = _plan(plan_name, spec, tables)
        print(f"converting {size} to {plan_name}: {plan.bits_per_weight:.2f} bits per weight")
        convert(checkpoint, spec, plan, gguf.parent, tables=tables)
    return gguf


def _checkpoint(scratch: Path, size: str) -> Checkpoint:
    folder = scratch / f"{size}-checkpoint"
    if not folder.exists():
        print(f"making up a checkpoint of {size}")
        partial = scratch / f"{size}-checkpoint.partial"
        shutil.rmtree(partial, ignore_errors=True)
        write_shape(partial, SIZES[size])
        partial.rename(folder)
    return open_checkpoint(folder)


def _plan(name: str, spec: ModelSpec, tables: Tables) -> Plan:
    """`mixed` is what the planner makes of a table of priors, as a first run does."""
    if name == "mixed":
        return make_plan(spec, Budget(CONTEXT, target_bpw=_MIXED_BPW), tables)
    return uniform_plan(spec, name, Budget(CONTEXT), tables)
