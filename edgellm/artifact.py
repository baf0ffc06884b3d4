"""A converted model on disk: its files, and `edgellm.json`, which says what they are.

A folder without a valid `edgellm.json` is not an artifact: it is written last.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgellm.errors import FormatError, InputError, IntegrityError, UnsupportedError
from edgellm.files import FileStamp, sha256_of, write_json
from edgellm.json_file import read_json
from edgellm.jsonfields import JsonObject
from edgellm.plan import Plan
from edgellm.progress import Progress, ProgressSink, ignore_progress
from edgellm.verified import VerifiedFiles

MANIFEST = "edgellm.json"
MODEL_GGUF = "model.gguf"
SCHEMA_VERSION = 1
_MAX_MANIFEST_BYTES = 32 << 20  # a plan takes about 100 bytes a tensor
_SHA256 = re.compile(r"[0-9a-f]{64}")
_FILE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")


@dataclass(frozen=True, slots=True)
class FileEntry:
    """One file and the content it must have."""

    path: str  # a plain name: artifacts and checkpoints are flat folders
    bytes: int
    sha256: str  # lower-case hexadecimal

    def to_json(self) -> dict[str, Any]:
        return {"path": self.path, "bytes": self.bytes, "sha256": self.sha256}

    @classmethod
    def read(cls, fields: JsonObject) -> "FileEntry":
        fields.only("path", "bytes", "sha256")
        sha256 = _read_sha256(fields, "sha256")
        return cls(fields.text("path"), fields.integer("bytes"), sha256)


@dataclass(frozen=True, slots=True)
class Source:
    """The checkpoint an artifact was made from."""

    name: str
    family: str
    files: tuple[FileEntry, ...]

    def to_json(self) -> dict[str, Any]:
        files = [entry.to_json() for entry in self.files]
        return {"name": self.name, "family": self.family, "files": files}

    @classmethod
    def read(cls, fields: JsonObject) -> "Source":
        fields.only("name", "family", "files")
        files = tuple(FileEntry.read(entry) for entry in fields.children("files"))
        return cls(fields.text("name"), fields.text("family"), files)


@dataclass(frozen=True, slots=True)
class Artifact:
    """A converted model: what is in `folder`, why it is so, and what it came from."""

    folder: Path
    plan: Plan
    files: tuple[FileEntry, ...]
    source: Source
    versions: Mapping[str, str]  # of edgellm and of each library that shaped the bytes
    calibration: str | None = None  # SHA-256 of the input statistics that guided the rounding

    @property
    def gguf(self) -> Path:
        """The file llama.cpp loads. Raises InputError when the manifest does not vouch for it."""
        if not any(entry.path == MODEL_GGUF for entry in self.files):
            raise InputError(f"{self.folder}: {MANIFEST} lists no {MODEL_GGUF}")
        return self.folder / MODEL_GGUF

    @property
    def total_bytes(self) -> int:
        return sum(entry.bytes for entry in self.files)

    def verify(
        self, *, progress: ProgressSink = ignore_progress, stamps: Path | None = None
    ) -> None:
        """Compare every file's SHA-256 with the manifest.

        stamps: folder that remembers which files were verified; one not touched since then is not
        hashed again. Raises IntegrityError.
        """
        verified = VerifiedFiles(stamps)
        done_bytes = 0
        for entry in self.files:
            path = self.folder / entry.path

            def report(count: int, name: str = entry.path) -> None:
                nonlocal done_bytes
                done_bytes += count
                progress(Progress("verify", done_bytes, self.total_bytes, name))

            stamp = FileStamp.of(path)
            if verified.holds(path, stamp, entry.sha256):
                report(entry.bytes)
                continue
            _check_content(path, entry, report)
            verified.remember(path, stamp, entry.sha256)

    def to_json(self) -> dict[str, Any]:
        """The manifest as JSON types; the folder is where it lies, not part of it."""
        calibration = {} if self.calibration is None else {"calibration": self.calibration}
        return {
            "schema_version": SCHEMA_VERSION,
            "files": [entry.to_json() for entry in self.files],
            "source": self.source.to_json(),
            "versions": dict(self.versions),
            **calibration,
            "plan": self.plan.to_json(),
        }

    def write_manifest(self, folder: Path) -> None:
        """Write `edgellm.json` into `folder`, where the files already are."""
        write_json(folder / MANIFEST, self.to_json())


def open_artifact(
    path: Path,
    *,
    verify: bool = False,
    progress: ProgressSink = ignore_progress,
    stamps: Path | None = None,
) -> Artifact:
    """Read the artifact in the folder `path` and check that its files are there, whole.

    verify, stamps: also compare every file's SHA-256, as `Artifact.verify` does.
    Raises InputError for no artifact, FormatError for a bad manifest, IntegrityError for a file
    that is missing, has another size, or (verify) other content.
    """
    artifact = read_manifest(path)
    for entry in artifact.files:
        _check_size(path / entry.path, entry)
    if verify:
        artifact.verify(progress=progress, stamps=stamps)
    return artifact


def read_manifest(folder: Path) -> Artifact:
    """Read `edgellm.json` alone. Raises InputError or FormatError."""
    path = folder / MANIFEST
    if not path.is_file():
        raise InputError(f"{folder}: not an edgellm artifact: it has no {MANIFEST}")
    top = JsonObject.at(str(path), "", read_json(path, _MAX_MANIFEST_BYTES))
    _check_version(top)
    top.only("schema_version", "files", "source", "versions", "calibration", "plan")
    return Artifact(
        folder=folder,
        plan=Plan.from_json(top.child("plan").values, f"{path}: plan"),
        files=_read_files(top),
        source=Source.read(top.child("source")),
        versions=_read_versions(top.child("versions")),
        calibration=_read_sha256(top, "calibration") if "calibration" in top.values else None,
    )


def _check_version(top: JsonObject) -> None:
    version = top.integer("schema_version", least=1)
    if version > SCHEMA_VERSION:
        raise UnsupportedError(
            f"{top.source}: schema_version {version}", [str(SCHEMA_VERSION)], "Update edgellm"
        )


def _read_sha256(fields: JsonObject, key: str) -> str:
    digits = fields.text(key)
    if not _SHA256.fullmatch(digits):
        where = f"{fields.path}.{key}" if fields.path else key
        raise FormatError(fields.source, f"{where} is not 64 hexadecimal digits")
    return digits


def _read_files(top: JsonObject) -> tuple[FileEntry, ...]:
    files = tuple(FileEntry.read(entry) for entry in top.children("files"))
    if not files:
        raise FormatError(top.source, "files is empty; expected the model's file")
    names: set[str] = {MANIFEST}
    for entry in files:
        if not _FILE_NAME.fullmatch(entry.path):
            raise FormatError(top.source, f"file {entry.path!r}: expected a plain file name")
        if entry.path in names:
            raise FormatError(top.source, f"file {entry.path!r} is listed twice")
        names.add(entry.path)
    return files


def _read_versions(fields: JsonObject) -> Mapping[str, str]:
    return {name: fields.text(name) for name in fields.values}


def _check_size(path: Path, entry: FileEntry) -> None:
    if not path.is_file():
        raise IntegrityError(f"{path}: missing; {MANIFEST} lists it. Convert again")
    found_bytes = FileStamp.of(path).bytes
    if found_bytes != entry.bytes:
        raise IntegrityError(
            f"{path}: {found_bytes} bytes; {MANIFEST} expects {entry.bytes}. Convert again"
        )


def _check_content(path: Path, entry: FileEntry, on_bytes: Callable[[int], None]) -> None:
    found = sha256_of(path, on_bytes)
    if found != entry.sha256:
        raise IntegrityError(
            f"{path}: its SHA-256 is {found}; {MANIFEST} expects {entry.sha256}. Convert again"
        )
