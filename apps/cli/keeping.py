"""Keeps what a reference expects in a file, while it is compared or alone."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgellm.apps.cli.progress_sinks import terminal_progress
from edgellm.apps.cli.quality_report import Saved
from edgellm.apps.finding import Loadable
from edgellm.artifact import MODEL_GGUF
from edgellm.errors import OutputError
from edgellm.evaluation import perplexity, pieces
from edgellm.files import hash_files
from edgellm.likeliest import TAIL, F32Array, F64Array, Softmax, keep_likeliest
from edgellm.saved_reference import ReferenceWriter


@dataclass(frozen=True, slots=True)
class Target:
    """Where the reference's predictions are kept, and of which file they are."""

    path: Path
    model: str
    model_sha256: str


def target_for(path: Path, name: str, found: Loadable) -> Target:
    """Where to keep the predictions of the reference `name`. Raises OutputError, InputError."""
    if not path.absolute().parent.is_dir():
        raise OutputError(f"{path}: cannot be written: its folder does not exist")
    if found.artifact is not None:
        entries = {entry.path: entry.sha256 for entry in found.artifact.files}
        return Target(path, name, entries[MODEL_GGUF])
    with terminal_progress() as progress:
        (digest,) = hash_files([found.gguf], found.gguf.name, progress)
    return Target(path, name, digest)


class Keeper:
    """Writes down what passes on its way to the comparison."""

    def __init__(self, path: Path, writer: ReferenceWriter) -> None:
        self._path = path
        self._writer = writer
        self._nll: list[F64Array] = []

    def passing(
        self, window: list[int], logits: Iterable[F32Array], following: list[int]
    ) -> Iterator[F32Array]:
        """The logits of a window as they came."""
        self._writer.begin_window(window)
        begin = 0
        for piece in logits:
            tokens = np.asarray(following[begin : begin + len(piece)], np.intp)
            for rows in pieces(*piece.shape):
                kept = keep_likeliest(Softmax(piece[rows], "reference"), tokens[rows], TAIL)
                self._writer.add(kept)
                self._nll.append(-kept.following)
            begin += len(piece)
            yield piece

    def saved(self) -> Saved:
        """What is in the file once every window has passed."""
        nll = np.concatenate(self._nll)
        return Saved(self._path, self._writer.written_bytes, len(nll), perplexity(nll))
