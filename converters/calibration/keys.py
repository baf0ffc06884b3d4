"""Names under which what was measured of a model on a text is kept."""

import hashlib
from pathlib import Path

from edgellm.files import sha256_of
from edgellm.progress import Progress, ProgressSink


def content_key(gguf: Path, text: str, settings: tuple[object, ...], progress: ProgressSink) -> str:
    """A hash of the file, the text and the settings; the file is read whole."""
    total_bytes, hashed_bytes = gguf.stat().st_size, 0

    def heard(count: int) -> None:
        nonlocal hashed_bytes
        hashed_bytes += count
        progress(Progress("hash", hashed_bytes, total_bytes, gguf.name))

    parts = (sha256_of(gguf, heard), hashlib.sha256(text.encode()).hexdigest(), *settings)
    return hashlib.sha256(repr(parts).encode()).hexdigest()
