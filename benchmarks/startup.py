"""Start-up cost: `python -m benchmarks.startup`.

Medians of 10 whole processes each, taken in turns. Importing and the helps: less what a bare
`python -c pass` takes. With the bundled model's artifact: `edgellm run` of a plain text for 8
tokens (wall until its first text; processor time of the whole command, its children included),
and edgellm.load (wall from `import edgellm` until the model is loaded).
"""

import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from benchmarks.report import write_result
from benchmarks.worker.opening import prepare_model
from edgellm.children import child_command, child_environment
from edgellm.runtimes.api.launch import ISOLATIONS

ROUNDS = 10
COMMANDS = {
    "bare": ["-c", "pass"],
    "import_edgellm": ["-c", "import edgellm"],
    "help": ["-m", "edgellm", "--help"],
    "run_help": ["-m", "edgellm", "run", "--help"],
}
LOAD = """
import time; began = time.perf_counter()
import edgellm
with edgellm.load({artifact!r}, isolation={isolation!r}, threads=1):
    print(1000 * (time.perf_counter() - began))
"""
Figures = Mapping[str, float]  # milliseconds by name


def whole_process(name: str, arguments: list[str]) -> Figures:
    began, before = time.perf_counter(), children_cpu_s()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    wall_s, cpu_s = time.perf_counter() - began, children_cpu_s() - before
    return {f"{name}_ms": 1000 * wall_s, f"{name}_cpu_ms": 1000 * cpu_s}


def first_text(artifact: Path, isolation: str) -> Figures:
    """One `edgellm run`; the model is tiny, so it gets one thread."""
    options = ["--max-tokens", "8", "--threads", "1", "--isolation", isolation]
    command = child_command("edgellm", "run", str(artifact), "Once", *options)
    began, before = time.perf_counter(), children_cpu_s()
    with subprocess.Popen(command, env=child_environment(), stdout=subprocess.PIPE) as process:
        assert process.stdout
        os.read(process.stdout.fileno(), 1)
        first_s = time.perf_counter() - began
        process.communicate()
    name = f"run_isolation_{isolation}"
    cpu_s = children_cpu_s() - before
    return {f"{name}_first_text_ms": 1000 * first_s, f"{name}_cpu_ms": 1000 * cpu_s}


def loaded(artifact: Path, isolation: str) -> Figures:
    program = LOAD.format(artifact=str(artifact), isolation=isolation)
    command = [sys.executable, "-c", program]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {f"load_isolation_{isolation}_ms": float(said)}


def children_cpu_s() -> float:
    """Processor time of every process below this one that has ended and was waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def medians(samplers: list[Callable[[], Figures]]) -> dict[str, float]:
    """Of each figure, over rounds in which every sampler has its turn; one round warms up."""
    samples: dict[str, list[float]] = {}
    for number in range(1 + ROUNDS):
        for sampler in samplers:
            for name, value in sampler().items():
                samples.setdefault(name, []).extend([value] if number else [])
    return {name: statistics.median(values) for name, values in samples.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        artifact = prepare_model(Path(folder))
        found = medians(
            [
                *(partial(whole_process, name, words) for name, words in COMMANDS.items()),
                *(partial(first_text, artifact, isolation) for isolation in ISOLATIONS),
                *(partial(loaded, artifact, isolation) for isolation in ISOLATIONS),
            ]
        )
    bare_ms, bare_cpu_ms = found.pop("bare_ms"), found.pop("bare_cpu_ms")
    for name in COMMANDS.keys() - {"bare"}:
        found[f"{name}_ms"] -= bare_ms
        found[f"{name}_cpu_ms"] -= bare_cpu_ms
    figures = {name: round(value, 1) for name, value in found.items()}
    print(*(f"{name}: {value}" for name, value in figures.items()), sep="\n")
    print(write_result("startup", {"rounds": ROUNDS, **figures}))


if __name__ == "__main__":
    main()
