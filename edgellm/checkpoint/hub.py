"""Model names: a path on disk, or a repository on the Hugging Face Hub."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgellm.errors import InputError
from edgellm.json_file import show
from edgellm.progress import ProgressSink, ignore_progress

# Everything a conversion reads, and nothing else: no pickles, no code, no other formats' folders.
_WANTED = (
    "*.safetensors",
    "model.safetensors.index.json",
    "config.json",
    "generation_config.json",
    "tokenizer.model",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "adapter_config.json",  # so that an adapter is named as one
)
_UNWANTED = ("*/*", "consolidated*")
_HUB_NAME = re.compile(
    r"(?P<repository>[A-Za-z0-9][\w.-]*/[A-Za-z0-9_][\w.-]*)(?:@(?P<revision>[\w][\w./-]*))?",
    re.ASCII,
)


def resolve_model(
    reference: str, *, offline: bool = False, progress: ProgressSink = ignore_progress
) -> Path:
    """Find a model: an existing path as it is, else "org/name" or "org/name@revision" on the Hub.

    The Hub's own cache is used and filled; a download that was cut off goes on where it stopped.
    HF_HOME, HF_ENDPOINT, HF_TOKEN and HF_HUB_OFFLINE mean what they mean everywhere. With `offline`
    no socket is opened. `progress` is called from the threads that download.
    Raises InputError, naming the next step.
    """
    path = Path(reference)
    if reference and _exists(path):
        return _newest_snapshot(path)
    name = _match(reference)
    if name is None:
        raise InputError(
            f"{show(reference)}: no such file or folder; on the Hub: org/name or org/name@revision"
        )
    return _fetch(name["repository"], name["revision"] or "main", offline, progress)


def is_hub_name(reference: str) -> bool:
    """Whether this could be "org/name" or "org/name@revision"."""
    return _match(reference) is not None


def _match(reference: str) -> re.Match[str] | None:
    return None if ".." in reference else _HUB_NAME.fullmatch(reference)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name longer than the file system takes
        return False


def _newest_snapshot(path: Path) -> Path:
    """A repository's folder in the Hub cache stands for what its main branch points to."""
    branch = path / "refs" / "main"
    if not path.name.startswith("models--") or not branch.is_file():
        return path
    snapshot = path / "snapshots" / branch.read_text(encoding="utf-8", errors="replace").strip()
    if not snapshot.is_dir():
        raise InputError(f"{path}: its main revision is not in the cache; fetch it again by name")
    return snapshot


def _fetch(repository: str, revision: str, offline: bool, progress: ProgressSink) -> Path:
    from huggingface_hub import snapshot_download

    from edgellm.checkpoint.hub_progress import bar_class

    with _one_line_errors(repository, revision, offline):
        folder = Path(
            snapshot_download(
                repository,
                revision=revision,
                local_files_only=offline,
                allow_patterns=list(_WANTED),
                ignore_patterns=list(_UNWANTED),
                tqdm_class=bar_class(repository, progress),
                library_name="edgellm",
            )
        )
    if not any(folder.glob("*.safetensors")):
        raise InputError(
            f"{repository}: no safetensors in revision {revision}; name a revision that has them: "
            f"{repository}@REVISION"
        )
    return folder


@contextmanager
def _one_line_errors(repository: str, revision: str, offline: bool) -> Iterator[None]:
    """Map what huggingface_hub raises to one line and a next step."""
    from huggingface_hub import constants, errors

    try:
        yield
    except errors.GatedRepoError as error:
        page = f"{constants.ENDPOINT}/{repository}"
        problem = f"gated; accept its terms at {page}, then set HF_TOKEN"
        raise InputError(f"{repository}: {problem}") from error
    except errors.RepositoryNotFoundError as error:
        problem = (
            "no such file, folder or Hub repository; check the spelling, or set HF_TOKEN if private"
        )
        raise InputError(f"{repository}: {problem}") from error
    except errors.RevisionNotFoundError as error:
        raise InputError(f"{repository}: has no revision {show(revision)}") from error
    except errors.LocalEntryNotFoundError as error:
        raise InputError(f"{repository}: {_not_cached(offline, revision, error)}") from error
    # HTTPError is that of httpx or httpx2, whichever this huggingface_hub uses.
    except (errors.HTTPError, errors.HFValidationError, OSError) as error:  # type: ignore[attr-defined]
        raise InputError(f"{repository}: fetch failed: {_first_line(error)}; try again") from error


def _not_cached(offline: bool, revision: str, error: Exception) -> str:
    from huggingface_hub import constants

    if offline or constants.HF_HUB_OFFLINE:
        return f"revision {revision} is not wholly in the local cache; fetch it once while online"
    reason = _first_line(error.__cause__ or error)
    return f"not in the local cache, and {constants.ENDPOINT} cannot be reached: {reason}"


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__
