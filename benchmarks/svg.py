"""Pictures of terminals for the README."""

import re
from pathlib import Path

from benchmarks.report import RESULTS


def write_picture(name: str, svg: str) -> Path:
    """Write an SVG by Rich or Textual to benchmarks/results/NAME.svg.

    Without fonts from the network: every machine has a monospaced one.
    """
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL)
    path = RESULTS / f"{name}.svg"
    path.write_text(svg.replace("Fira Code", "monospace"), encoding="utf-8")
    return path
