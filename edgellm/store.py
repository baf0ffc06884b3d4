"""The local store: artifacts by name, in one folder, with the caches that belong to them."""

import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from edgellm.artifact import MANIFEST, Artifact, open_artifact
from edgellm.errors import InputError, OutputError, UsageError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class Store:
    """Artifacts under `home`/models; `home`/cache holds what can be made again."""

    home: Path

    @property
    def models(self) -> Path:
        return self.home / "models"

    @property
    def cache(self) -> Path:
        return self.home / "cache"

    def path(self, name: str) -> Path:
        """Where the artifact called `name` lives, or would live. Raises UsageError."""
        if not _is_name(name):
            raise UsageError(f"model name {name!r}: use letters, digits, '.', '_' and '-'")
        return self.models / name

    def names(self) -> list[str]:
        """Names of the stored artifacts, sorted; not of folders that are being made or removed."""
        if not self.models.is_dir():
            return []
        found = (entry.parent.name for entry in self.models.glob(f"*/{MANIFEST}"))
        return sorted(name for name in found if _is_name(name))

    def has(self, name: str) -> bool:
        return _is_name(name) and (self.models / name / MANIFEST).is_file()

    def open(self, name: str) -> Artifact:
        """The stored artifact called `name`, not verified. Raises InputError when there is none."""
        self.check(name)
        return open_artifact(self.path(name))

    def check(self, name: str) -> None:
        """Raises InputError where nothing is stored under `name`; it may be broken."""
        if not self.has(name):
            known = ", ".join(self.names()) or "nothing"
            raise InputError(f"{name}: not in the store, which holds {known}. See: edgellm ls")

    def remove(self, name: str) -> int:
        """Delete what is stored as `name`, also where it is broken; returns the bytes it took."""
        self.check(name)
        folder = self.path(name)
        freed_bytes = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
        doomed = folder.with_name(f".{name}.removed")
        try:
            # Renamed first, so that an interrupt cannot leave half an artifact under its name.
            folder.replace(doomed)
            shutil.rmtree(doomed)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be removed: {error.strerror}") from error
        return freed_bytes


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and not name.endswith((".", ".partial"))
