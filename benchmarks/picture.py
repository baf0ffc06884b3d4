"""Draws the README's picture from a real run: `python -m benchmarks.picture`."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

from benchmarks.svg import write_picture

COLUMNS = 84


def demo_text() -> str:
    """What `edgellm demo` prints, in a store of its own."""
    with tempfile.TemporaryDirectory() as home:
        run = subprocess.run(
            [sys.executable, "-m", "edgellm", "demo"],
            env={**os.environ, "EDGELLM_HOME": home},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=True,
        )
        return run.stdout.replace(f"{home}/models/", "")


def main() -> None:
    console = Console(record=True, width=COLUMNS, file=Path(os.devnull).open("w"))  # noqa: SIM115
    for line in demo_text().rstrip().split("\n"):
        style = "bold green" if line.startswith("$ ") else ""
        console.print(Text(line, style=style), soft_wrap=False)
    print(write_picture("demo", console.export_svg(title="edgellm demo")))


if __name__ == "__main__":
    main()
