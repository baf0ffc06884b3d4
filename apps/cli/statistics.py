"""Imatrix files that the user brings, or takes away."""

from pathlib import Path

from edgellm.apps.cli.output import note
from edgellm.calibration import Calibration
from edgellm.converters.calibration.calibrate import WINDOW_TOKENS
from edgellm.converters.calibration.imatrix import (
    Imatrix,
    imatrix_of,
    read_imatrix,
    write_imatrix,
)
from edgellm.spec import ModelSpec


def read_statistics(path: Path, spec: ModelSpec, instead: str) -> Imatrix:
    """The imatrix; a note says what it lacks and what happens instead.

    Raises InputError, also for another model's.
    """
    imatrix = read_imatrix(path)
    if missing := imatrix.missing(spec):
        others = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        note(f"{path} has nothing on {missing[0]}{others}: {instead}")
    return imatrix


def save_statistics(
    path: Path, calibration: Calibration, spec: ModelSpec, text: Path | None
) -> None:
    """Write the input moments as an imatrix. Raises OutputError."""
    dataset = "drawn from the model" if text is None else text.name
    write_imatrix(path, imatrix_of(calibration, spec, dataset, WINDOW_TOKENS))
    note(f"imatrix saved to {path}")
