"""Where a measurement was made, and the one way to write it down."""

import json
import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"
ROOT = Path(__file__).parent.parent
PACKAGES = ("edgellm", "numpy", "scipy", "gguf", "llama-cpp-python")


def machine() -> dict[str, Any]:
    """The machine without its name: processor, cores, memory, operating system."""
    from edgellm.hardware import detect_hardware

    hardware = detect_hardware(gpus=False)
    return {
        "processor": hardware.processor,
        "logical_cores": hardware.logical_cores,
        "memory_bytes": hardware.memory_total_bytes,
        "os": platform.system(),
        "python": platform.python_version(),
    }


def commit() -> str:
    """The commit measured, with a mark when the tree held changes."""
    describe = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(
        describe, cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.strip()


def write_result(name: str, figures: dict[str, Any]) -> Path:
    """Write figures with machine, versions and commit to benchmarks/results/NAME.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    document = {
        "benchmark": name,
        "commit": commit(),
        "machine": machine(),
        "versions": {package: version(package) for package in PACKAGES},
        "figures": figures,
    }
    path.write_text(json.dumps(document, indent=1) + os.linesep, encoding="utf-8")
    return path
