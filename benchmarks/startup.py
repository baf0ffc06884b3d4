"""Start-up cost: `python -m benchmarks.startup`.

Median of 10 whole processes, minus the median of a bare `python -c pass` in the same rounds.
"""

import statistics
import subprocess
import sys
import time

from benchmarks.report import write_result

ROUNDS = 10
COMMANDS = {
    "bare": ["-c", "pass"],
    "import_edgellm": ["-c", "import edgellm"],
    "help": ["-c", "from edgellm.apps.cli import main; main(['--help'])"],
    "run_help": ["-c", "from edgellm.apps.cli import main; main(['run', '--help'])"],
}


def seconds(arguments: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    for arguments in COMMANDS.values():
        seconds(arguments)
    samples: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(ROUNDS):
        for name, arguments in COMMANDS.items():
            samples[name].append(1000 * seconds(arguments))
    medians = {name: statistics.median(times) for name, times in samples.items()}
    figures = {
        f"{name}_ms": round(median - medians["bare"], 1)
        for name, median in medians.items()
        if name != "bare"
    }
    print(figures)
    print(write_result("startup", {"rounds": ROUNDS, **figures}))


if __name__ == "__main__":
    main()
