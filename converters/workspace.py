"""Where an artifact is prepared: a hidden folder beside its final place, on the same disk.

.NAME.partial/
    lock         held by the one conversion that works here
    journal      how far the model file is known to be good
    artifact/    becomes NAME by one rename, when complete
    old/         the artifact it replaces, for as long as that rename takes
"""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgellm.artifact import MANIFEST, read_manifest
from edgellm.errors import InputError, OutputError
from edgellm.files import output_errors, sync_folder


@dataclass(frozen=True, slots=True)
class Workspace:
    """The hidden folder of one output folder."""

    out: Path  # absolute

    @property
    def folder(self) -> Path:
        return self.out.with_name(f".{self.out.name}.partial")

    @property
    def lock(self) -> Path:
        return self.folder / "lock"

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def artifact(self) -> Path:
        return self.folder / "artifact"

    @property
    def old(self) -> Path:
        return self.folder / "old"

    def publish(self) -> None:
        """Rename the artifact, whose files are on the disk, to its final place, durably.

        Raises OutputError.
        """
        with output_errors(self.out):
            if os.path.lexists(self.out):
                self.out.replace(self.old)
            try:
                self.artifact.replace(self.out)
            except OSError:
                self.recover()
                raise
            sync_folder(self.out.parent)

    def recover(self) -> None:
        """Put the old artifact back if a conversion stopped before the new one took its place."""
        if not self.old.is_dir():
            return
        if os.path.lexists(self.out):
            shutil.rmtree(self.old)
        else:
            self.old.replace(self.out)

    def clear(self) -> None:
        """Remove everything but the lock."""
        for entry in (self.artifact, self.old):
            shutil.rmtree(entry, ignore_errors=True)
        with suppress(OSError):
            self.journal.unlink()


@contextmanager
def open_workspace(out: Path, *, overwrite: bool) -> Iterator[Workspace]:
    """The workspace of `out`, for this process alone.

    Left through success or a fault of the input, it is removed; left in any other way (Ctrl-C, a
    full disk), what is in it stays, so that the next conversion can go on from there.
    overwrite: replace an artifact that is there. Raises OutputError when `out` is taken by
    anything else, cannot be written, or is being written by another process.
    """
    space = Workspace(Path(os.path.abspath(out)))  # noqa: PTH100 - keeps links, unlike resolve
    _check_target(space.out, overwrite)
    with output_errors(space.folder):
        space.folder.mkdir(parents=True, exist_ok=True)
    with _locked(space):
        with output_errors(space.out):
            space.recover()
        _check_target(space.out, overwrite)
        try:
            yield space
        except InputError:
            space.clear()
            raise
        space.clear()


@contextmanager
def _locked(space: Workspace) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(space.lock, timeout=0)
    with output_errors(space.lock):
        try:
            lock.acquire()
        except Timeout as error:
            raise OutputError(
                f"{space.out}: another process is writing it; wait for it or choose another folder"
            ) from error
    try:
        yield
    finally:
        if sys.platform == "win32":
            lock.release()  # an open file cannot be removed there
        with suppress(OSError):
            if list(space.folder.iterdir()) == [space.lock]:
                space.lock.unlink()
                space.folder.rmdir()
        lock.release()


def _check_target(out: Path, overwrite: bool) -> None:
    """Refuse whatever is at `out`, except an artifact that may be overwritten."""
    if not os.path.lexists(out):
        return
    if not overwrite:
        raise OutputError(
            f"{out}: already exists; remove it, or add --overwrite if it is an artifact"
        )
    if out.is_symlink():
        raise OutputError(f"{out}: is a link, so it stays; name the folder it leads to")
    try:
        listed = {MANIFEST, *(entry.path for entry in read_manifest(out).files)}
    except InputError as error:
        raise OutputError(f"{out}: is not an edgellm artifact, so it stays; {error}") from error
    with output_errors(out):
        names = {entry.name for entry in out.iterdir()}
    if foreign := sorted(names - listed):
        raise OutputError(f"{out}: holds {foreign[0]}, which is not part of the artifact; move it")
