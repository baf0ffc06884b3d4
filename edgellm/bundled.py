"""What ships with the package, so that a first run needs no network: a model and a text."""

from pathlib import Path

BUNDLED_NAME = "novelist-7m"


def bundled_checkpoint() -> Path:
    """Folder of novelist-7m: 7.3 M parameters, trained on public-domain novels; Apache-2.0."""
    return _data() / BUNDLED_NAME


def bundled_calibration_text() -> str:
    """Prose, dialogue, code, tables and many languages, mixed; Apache-2.0.

    Written for this project. Every quarter holds prose, dialogue and code, since gains may be found
    certain after a few windows.
    """
    return (_data() / "calibration.txt").read_text(encoding="utf-8")


def _data() -> Path:
    return Path(__file__).parent / "data"
