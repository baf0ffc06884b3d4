"""`edgellm doctor`: which runtimes work here, and why the others don't."""

from dataclasses import asdict
from typing import Any

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.settings import home
from edgellm.units import format_bytes


def command(json: cli.Json = False) -> None:
    """Show this machine and which runtimes work on it."""
    from edgellm.hardware import detect_hardware

    hardware = detect_hardware()
    runtimes = runtime_rows()
    if json:
        print_json({"runtimes": runtimes, "hardware": asdict(hardware)})
        return
    print(
        f"{hardware.processor}, {hardware.physical_cores} cores, "
        f"{hardware.system} {hardware.machine}"
    )
    print(
        f"{format_bytes(hardware.memory_available_bytes)} of "
        f"{format_bytes(hardware.memory_total_bytes)} memory free now"
    )
    for row in runtimes:
        print(f"{row['name']:<10} {'works' if row['available'] else 'no'}: {row['reason']}")


def runtime_rows() -> list[dict[str, Any]]:
    """One row a runtime, with the reason either way."""
    from edgellm.runtimes import RUNTIMES, open_runtime
    from edgellm.store import Store

    rows = []
    for name, entry in RUNTIMES.items():
        problem = entry.unavailable()
        reason = problem or open_runtime(name, Store(home()).cache).describe()
        rows.append({"name": name, "available": problem is None, "reason": reason})
    return rows
