"""The curve as a picture, drawn by matplotlib."""

import io
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from edgellm.apps.cli.curve_report import YOURS, CurveReport
from edgellm.errors import OutputError, UsageError
from edgellm.files import write_file, write_json

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES = (".json", ".png", ".svg")
_INK, _CURVE, _UNIFORM, _YOURS = "#1f2430", "#1a66b0", "#8a8f99", "#c8401a"
_UNITS = (("GiB", 2**30), ("MiB", 2**20))


def check_curve_file(path: Path) -> None:
    """Raises UsageError for a kind of file that cannot be written here, OutputError for a place."""
    if path.suffix.lower() not in SUFFIXES:
        kinds = ", ".join(SUFFIXES)
        raise UsageError(f"--curve-file {path}: the name ends in none of {kinds}; rename it")
    if path.suffix.lower() != ".json" and find_spec("matplotlib") is None:
        raise UsageError(
            f"--curve-file {path} needs matplotlib, which is not installed: "
            "pip install 'edgellm[plots]', or name a .json file"
        )
    if not path.parent.is_dir():
        raise OutputError(f"{path}: cannot be written: there is no folder {path.parent}")


def write_curve(report: CurveReport, path: Path) -> None:
    """Write the curve as its file's suffix says. Raises OutputError."""
    if path.suffix.lower() == ".json":
        write_json(path, {**report.to_json(), "plan": report.plan.to_json()})
    else:
        write_file(path, picture(report, path.suffix.lower()[1:]))


def picture(report: CurveReport, kind: str) -> bytes:
    """The curve as a PNG or SVG file; the same report gives the same bytes."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context(
        {
            "font.family": "sans-serif",
            "svg.hashsalt": "edgellm",
            "text.color": _INK,
            "axes.labelcolor": _INK,
            "axes.edgecolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
        }
    ):
        figure = Figure(figsize=(8, 5), layout="constrained")
        _draw(figure.add_subplot(), report)
        file = io.BytesIO()
        metadata = {"Date": None} if kind == "svg" else {"Software": None}
        figure.savefig(file, format=kind, dpi=150, metadata=metadata)
    return file.getvalue()


def _draw(axes: "Axes", report: CurveReport) -> None:
    unit, unit_bytes = _unit(report)
    curve = [(p.total_bytes / unit_bytes, p.kl_divergence) for p in report.points]
    axes.plot(*zip(*curve, strict=True), "o-", color=_CURVE, markersize=4, label="best plan")
    ways = {
        name: (p.total_bytes / unit_bytes, p.kl_divergence) for name, p in report.uniform.items()
    }
    axes.plot(*zip(*ways.values(), strict=True), "s", color=_UNIFORM, label="one format throughout")
    for name, place in ways.items():
        axes.annotate(name, place, (7, 5), textcoords="offset points", color=_UNIFORM, fontsize=9)
    here = (report.plan.total_bytes / unit_bytes, report.plan.kl_divergence)
    axes.plot(*here, "D", color=_YOURS, markersize=8, label=YOURS, zorder=3)
    axes.set_yscale("log")
    axes.margins(x=0.06)
    axes.set_xlabel(f"total memory, {unit}")
    axes.set_ylabel("predicted KL divergence, nats per token")
    axes.set_title(report.title, loc="left", fontsize=11)
    axes.grid(visible=True, which="major", color="#e3e6eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)


def _unit(report: CurveReport) -> tuple[str, int]:
    """The largest unit that the smallest point fills at least once."""
    least_bytes = min(point.total_bytes for point in report.every)
    return next((unit for unit in _UNITS if least_bytes >= unit[1]), _UNITS[-1])
