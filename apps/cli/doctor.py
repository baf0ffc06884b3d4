"""`edgellm doctor`: what this machine is, which runtimes work here, and why the others don't."""

import shutil
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.settings import home
from edgellm.units import format_bytes

if TYPE_CHECKING:
    from edgellm.gpus.gpu import Gpu
    from edgellm.hardware import Hardware
    from edgellm.runtimes.choosing.selection import Candidate


def command(json: cli.Json = False) -> None:
    """Show this machine and which runtimes work on it, best first."""
    from edgellm.hardware import detect_hardware

    hardware = detect_hardware()
    builds, broken = describe_engines()
    candidates = ranked_runtimes(hardware, broken)
    if json:
        print_json(
            {
                "runtimes": [runtime_row(candidate) for candidate in candidates],
                "builds": builds,
                "hardware": hardware.to_json(),
            }
        )
        return
    for line in (*machine_lines(hardware), "", *runtime_lines(candidates)):
        print(line)
    print()
    for name, build in builds.items():
        print(_wrapped(f"{name}: {build}", indent=2))


def describe_engines() -> tuple[dict[str, str], dict[str, str]]:
    """By engine: the build in one line; and why one that is installed does not load."""
    from edgellm.runtimes import RUNTIMES, open_runtime
    from edgellm.store import Store

    builds, broken = {}, {}
    for name, entry in RUNTIMES.items():
        if problem := entry.unavailable():
            broken[name] = problem
        else:
            builds[name] = open_runtime(name, Store(home()).cache).describe()
    return builds, broken


def ranked_runtimes(hardware: "Hardware", broken: dict[str, str]) -> "tuple[Candidate, ...]":
    from edgellm.runtimes.choosing.installed import look_installed
    from edgellm.runtimes.choosing.selection import rank_runtimes

    return rank_runtimes(hardware, replace(look_installed(), broken=broken))


def runtime_row(candidate: "Candidate") -> dict[str, Any]:
    """One runtime as JSON, with the reason either way."""
    return {
        "name": candidate.name,
        "available": candidate.usable,
        "reason": candidate.reason,
        "engine": candidate.engine,
        "device": candidate.device or None,
        "gpu_layers": candidate.gpu_layers,
    }


def machine_lines(hardware: "Hardware") -> Iterator[str]:
    """What the machine is, its memory and its GPUs."""
    cores = f"{hardware.physical_cores} core{'s' if hardware.physical_cores > 1 else ''}"
    yield f"{hardware.processor}, {cores}, {hardware.system} {hardware.machine}"
    yield (
        f"{format_bytes(hardware.memory_available_bytes)} of "
        f"{format_bytes(hardware.memory_total_bytes)} memory free now"
    )
    yield from map(gpu_line, hardware.gpus)
    if not hardware.gpus:
        yield "no GPU found"


def gpu_line(gpu: "Gpu") -> str:
    """One GPU: its memory, what it can do, its driver."""
    if gpu.shared_memory:
        memory = "shares the machine's memory"
    elif gpu.memory_total_bytes is None:
        memory = "memory unknown"
    else:
        free = gpu.memory_free_bytes
        of_free = "" if free is None else f"{format_bytes(free)} of "
        memory = f"{of_free}{format_bytes(gpu.memory_total_bytes)}" + (" free" if of_free else "")
    capability = gpu.compute_capability
    facts = [gpu.name, memory]
    if capability is not None:
        facts.append("compute capability {}.{}".format(*capability))
    return _wrapped(", ".join([*facts, *([f"driver {gpu.driver}"] if gpu.driver else [])]), 2)


def runtime_lines(candidates: "tuple[Candidate, ...]") -> Iterator[str]:
    """A line a runtime: its name, whether it works, and the reason."""
    width = max(len(candidate.name) for candidate in candidates)
    for candidate in candidates:
        verdict = "works" if candidate.usable else "no"
        yield _wrapped(f"{candidate.name:<{width}}  {verdict:<5}  {candidate.reason}", width + 9)


def _wrapped(line: str, indent: int) -> str:
    """The line as wide as the terminal; whole where a program reads it."""
    if not sys.stdout.isatty():
        return line
    columns = max(40, shutil.get_terminal_size().columns)
    return textwrap.fill(
        line,
        columns,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
