"""Names under which what was measured of a model on a text is kept."""

import hashlib
from functools import lru_cache
from pathlib import Path

from edgellm.files import FileStamp, hash_files
from edgellm.progress import ProgressSink


def content_key(gguf: Path, text: str, settings: tuple[object, ...], progress: ProgressSink) -> str:
    """A hash of the file, the text and the settings; an untouched file is read once."""
    digest = _file_digest(gguf, FileStamp.of(gguf), progress)
    parts = (digest, hashlib.sha256(text.encode()).hexdigest(), *settings)
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@lru_cache(maxsize=4)
def _file_digest(gguf: Path, stamp: FileStamp, progress: ProgressSink) -> str:
    """stamp: makes a changed file another one; several measurements ask for the same."""
    (digest,) = hash_files([gguf], gguf.name, progress)
    return digest
