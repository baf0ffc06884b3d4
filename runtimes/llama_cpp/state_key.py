"""The secret that signs saved conversations: one for each user, made when first needed."""

import hashlib
import hmac
import os
import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path

from edgellm.errors import IntegrityError, OutputError
from edgellm.files import output_errors, sync_folder

KEY_FILE = "state.key"
ID_BYTES = 8
_KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class StateKey:
    """A secret of 32 bytes; its `id` says which one it was without telling it."""

    secret: bytes

    @property
    def id(self) -> bytes:
        return hmac.digest(self.secret, b"edgellm state key", hashlib.sha256)[:ID_BYTES]


def key_for_saving(cache_dir: Path | None) -> StateKey:
    """The user's key, made now if there is none. Raises OutputError.

    Without a folder there is none: a key of this process alone would sign files that nobody could
    read again.
    """
    if cache_dir is None:
        raise OutputError(
            "the conversation cannot be saved: there is no cache folder for the key that signs it; "
            "open the runtime with one"
        )
    path = cache_dir / KEY_FILE
    if not path.exists():
        with output_errors(path):
            _create(path)
    try:
        return _read(path)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"{path}: not a usable key: {_reason(error)}; make it readable, or remove it together "
            "with the conversations it signed"
        ) from error


def key_for_restoring(cache_dir: Path | None, state: Path) -> StateKey:
    """The key that `state` must be signed with. Raises IntegrityError when there is none."""
    if cache_dir is None:
        raise IntegrityError(f"{state}: cannot be checked: there is no cache folder with its key")
    path = cache_dir / KEY_FILE
    try:
        return _read(path)
    except FileNotFoundError:
        raise IntegrityError(
            f"{state}: was not saved here: {path}, which would have signed it, does not exist"
        ) from None
    except (OSError, ValueError) as error:
        problem = f"{state}: cannot be checked: {path}: {_reason(error)}"
        raise IntegrityError(problem) from error


def _read(path: Path) -> StateKey:
    with path.open("rb") as file:
        secret = file.read(_KEY_BYTES + 1)
    if len(secret) != _KEY_BYTES:
        raise ValueError(f"not {_KEY_BYTES} bytes long")
    return StateKey(secret)


def _create(path: Path) -> None:
    """Put a new key in place whole; one that another process put there meanwhile stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        _put(Path(name), path)
        sync_folder(path.parent)
    finally:
        Path(name).unlink(missing_ok=True)


def _put(made: Path, path: Path) -> None:
    try:
        os.link(made, path)
    except FileExistsError:
        return
    except OSError:  # a file system without links; of two that come at once the later one wins
        made.replace(path)


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
