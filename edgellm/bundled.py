"""The checkpoint that ships with the package, so that a first run needs no network."""

from importlib.resources import files
from pathlib import Path

BUNDLED_NAME = "novelist-7m"


def bundled_checkpoint() -> Path:
    """Folder of novelist-7m: 7.3 M parameters, trained on public-domain novels; Apache-2.0."""
    return Path(str(files("edgellm"))) / "data" / BUNDLED_NAME
