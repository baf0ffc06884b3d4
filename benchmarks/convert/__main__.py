"""Peak memory and speed of a conversion: `python -m benchmarks.convert`; Linux and macOS.

Memory: at most 3 x the largest tensor in float32 + 250 MiB. Speed: at least 0.9 x
llama_model_quantize to the same types from the same weights with as many threads, in rounds that
alternate the two. Exits with 1 when either limit is missed or any tensor's bytes differ.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from gguf import GGUFReader

from benchmarks.convert.checkpoint import write_large_checkpoint
from benchmarks.report import ROOT, write_result
from edgellm.units import format_bytes

CHECKPOINT_BYTES = 1 << 30
ROUNDS = 3
LEAST_SPEED_RATIO = 0.9


@dataclass(frozen=True, slots=True)
class Measured:
    seconds: float
    cpu_s: float  # of the whole process, on all cores: steady where other work disturbs the clock
    peak_bytes: int  # resident set


def measure(kind: str, source: Path, out: Path, threads: int) -> Measured:
    """Run one conversion in a process of its own."""
    arguments = [kind, str(source), str(out), str(threads)]
    child = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.convert.worker", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    printed = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    assert child.returncode == 0, f"{kind} failed"
    unit = 1 if sys.platform == "darwin" else 1024
    return Measured(float(printed), usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def same_tensors(ours: Path, theirs: Path) -> bool:
    """Whether both files hold the same tensors, byte for byte."""
    left, right = ({t.name: t for t in GGUFReader(path).tensors} for path in (ours, theirs))
    return left.keys() == right.keys() and all(
        tensor.data.tobytes() == right[name].data.tobytes() for name, tensor in left.items()
    )


def main() -> int:
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="edgellm-bench-") as name:
        folder = Path(name)
        checkpoint, ours, theirs = folder / "checkpoint", folder / "ours", folder / "theirs.gguf"
        largest_bytes = write_large_checkpoint(checkpoint, CHECKPOINT_BYTES)
        measure("bf16", checkpoint, folder / "bf16", threads)
        rounds = []
        for _ in range(ROUNDS):
            shutil.rmtree(ours, ignore_errors=True)
            edgellm = measure("edgellm", checkpoint, ours, threads)
            llama_cpp = measure("llama.cpp", folder / "bf16" / "model.gguf", theirs, threads)
            rounds.append((edgellm, llama_cpp))
            print(f"edgellm {edgellm.seconds:.2f} s, llama.cpp {llama_cpp.seconds:.2f} s")
        equal = same_tensors(ours / "model.gguf", theirs)
        weights_bytes = (checkpoint / "model.safetensors").stat().st_size
    return report(rounds, weights_bytes, largest_bytes, threads, equal)


def report(
    rounds: list[tuple[Measured, Measured]],
    weights_bytes: int,
    largest_bytes: int,
    threads: int,
    equal: bool,
) -> int:
    """Write the figures; returns the exit status."""
    limit_bytes = 3 * largest_bytes + (250 << 20)
    peak_bytes = max(ours.peak_bytes for ours, _ in rounds)
    ratio = statistics.median(theirs.seconds / ours.seconds for ours, theirs in rounds)
    passed = peak_bytes <= limit_bytes and ratio >= LEAST_SPEED_RATIO and equal
    print(f"peak {format_bytes(peak_bytes)} of {format_bytes(limit_bytes)}; speed {ratio:.3f}")
    figures = {
        "passed": passed,
        "checkpoint_bytes": weights_bytes,
        "largest_tensor_f32_bytes": largest_bytes,
        "threads": threads,
        "peak_bytes": peak_bytes,
        "peak_limit_bytes": limit_bytes,
        "llama_cpp_peak_bytes": max(theirs.peak_bytes for _, theirs in rounds),
        "seconds": [round(ours.seconds, 3) for ours, _ in rounds],
        "llama_cpp_seconds": [round(theirs.seconds, 3) for _, theirs in rounds],
        "cpu_s": [round(ours.cpu_s, 3) for ours, _ in rounds],
        "llama_cpp_cpu_s": [round(theirs.cpu_s, 3) for _, theirs in rounds],
        "speed_ratio": round(ratio, 3),
        "tensors_equal": equal,
    }
    print(write_result("convert", figures))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
