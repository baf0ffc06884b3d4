"""Compares the predicted memory of whole runs with the peak that `edgellm run` reaches.

    python -m benchmarks.memory.peak

The prompt of each run fills the context, so that every ubatch is whole and every cell is written.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.convert.checkpoint import write_large_checkpoint
from benchmarks.report import write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.families import read_spec
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan
from edgellm.quant_tables import load_tables

_MIB = 2**20
_PROMPT = "It was a bright cold day, and the clocks of the old town were striking. "
_PROMPT_TOKENS = 21  # at most, with the bundled tokenizer
_WATCH = """
import json, resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdin=sys.stdin, capture_output=True, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, peak, done.stdout, done.stderr]))
"""


@dataclass(frozen=True, slots=True)
class Case:
    """One checkpoint and the budget it is planned for."""

    name: str
    folder: Path
    budget: Budget


def cases(scratch: Path) -> Iterator[Case]:
    yield Case("bundled, 512 tokens", bundled_checkpoint(), Budget(512, target_bpw=4.5))
    for size_mib, context, target_bpw in ((450, 1024, 4.0), (600, 2048, 4.5), (1000, 2048, 3.2)):
        folder = scratch / f"random-{size_mib}"
        write_large_checkpoint(folder, size_mib * _MIB)
        budget = Budget(context, target_bpw=target_bpw)
        yield Case(f"{size_mib} MiB of bf16, {context} tokens", folder, budget)


def measure(case: Case, scratch: Path) -> dict[str, object]:
    """Predicted parts, the measured peak, and their ratio."""
    checkpoint = open_checkpoint(case.folder)
    spec = read_spec(checkpoint)
    plan = make_plan(spec, case.budget, load_tables())
    out = scratch / "artifact"
    convert(checkpoint, spec, plan, out, tables=load_tables(), overwrite=True)
    peak_bytes = run_peak(out, plan)
    return {
        "case": case.name,
        "predicted": plan.memory.to_json(),
        "measured_peak_bytes": peak_bytes,
        "predicted_over_measured": plan.memory.total_bytes / peak_bytes,
    }


def run_peak(artifact: Path, plan: Plan) -> int:
    """Peak resident bytes of one `edgellm run` whose prompt fills the plan's context."""
    prompt = _PROMPT * (plan.kv.context // _PROMPT_TOKENS - 1)
    options = ["--json", "--raw", "--max-tokens", "8"]
    command = [sys.executable, "-m", "edgellm", "run", str(artifact), *options]
    answer, peak_bytes = peak_of(command, prompt)
    assert json.loads(answer)["prompt_tokens"] > 0.85 * plan.kv.context, answer
    return peak_bytes


def peak_of(command: list[str], stdin: str) -> tuple[str, int]:
    """What a command prints, and the peak resident bytes of its process (POSIX)."""
    watched = [sys.executable, "-c", _WATCH, *command]
    output = subprocess.run(watched, input=stdin, capture_output=True, text=True, check=True)
    status, peak, answer, complaint = json.loads(output.stdout)
    if status:
        raise RuntimeError(complaint)
    return answer, int(peak) * (1 if sys.platform == "darwin" else 1024)


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        for case in cases(scratch):
            rows.append(measure(case, scratch))
            print(json.dumps(rows[-1], indent=1))
    write_result("memory_peak", {"runs": rows})


if __name__ == "__main__":
    main()
