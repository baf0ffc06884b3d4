"""How long a refusal takes: `python -m benchmarks.bad_input`.

Every case of tests/apps/bad_input_cases.py as a whole process; the promise is under 2 s each.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.report import write_result
from tests.apps.bad_input_cases import CASES, Build

LIMIT_S = 2.0


def refusal_s(build: Build) -> float:
    """Seconds of one refusal, start of Python included."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (work := folder / "work").mkdir()
        settings = {"EDGELLM_HOME": str(folder / "home"), "EDGELLM_SENSITIVITY": "static"}
        environment = {**os.environ, **settings, "HF_HUB_OFFLINE": "1"}
        command = [sys.executable, "-m", "edgellm", *build(work)]
        began = time.perf_counter()
        subprocess.run(
            command, cwd=work, env=environment, capture_output=True, stdin=subprocess.DEVNULL
        )
        return time.perf_counter() - began


def main() -> int:
    seconds = {name: refusal_s(build) for name, (build, _) in CASES.items()}
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    figures = {
        "cases": len(seconds),
        "median_s": round(ordered[len(ordered) // 2][1], 3),
        "slowest_s": {name: round(value, 3) for name, value in ordered[:5]},
        "within_limit": ordered[0][1] < LIMIT_S,
    }
    print(figures)
    print(write_result("bad_input", figures))
    return 0 if figures["within_limit"] else 1


if __name__ == "__main__":
    sys.exit(main())
