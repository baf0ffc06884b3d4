"""Conversions of tiny checkpoints with fixed plans."""

from pathlib import Path

from edgellm.artifact import Artifact
from edgellm.calibration import Calibration
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.families import read_spec
from edgellm.progress import ProgressSink, ignore_progress
from edgellm.quant_tables import load_tables
from tests.support.checkpoints import write_checkpoint
from tests.support.plans import fixed_plan


def tiny_checkpoint(folder: Path, family: str = "llama", **config: object) -> Path:
    """A random checkpoint that converts: it has the bundled tokenizer."""
    return write_checkpoint(folder, family, tokenizer=True, **config)  # type: ignore[arg-type]


def convert_folder(
    checkpoint: Path,
    out: Path,
    name: str = "q8_0",
    *,
    calibration: Calibration | None = None,
    progress: ProgressSink = ignore_progress,
    threads: int | None = 2,
    overwrite: bool = False,
) -> Artifact:
    """Convert with every matrix in the format `name`."""
    opened, tables = open_checkpoint(checkpoint), load_tables()
    spec = read_spec(opened)
    return convert(
        opened,
        spec,
        fixed_plan(spec, tables, name),
        out,
        tables=tables,
        calibration=calibration,
        progress=progress,
        threads=threads,
        overwrite=overwrite,
    )
