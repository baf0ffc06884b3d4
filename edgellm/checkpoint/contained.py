"""Files of a checkpoint folder, refused when a link leads out of it."""

from pathlib import Path

from edgellm.errors import FormatError, InputError
from edgellm.json_file import file_bytes


def contained_file(folder: Path, name: str) -> Path:
    """The path of a regular file of `folder`; `name` has no folders in it.

    A link may stay in the folder or, in the Hub's cache layout, lead to the same repository's
    blobs. Raises InputError when the file is missing, FormatError when a link leads elsewhere.
    """
    path = folder / name
    try:
        target = path.resolve(strict=True)
        home = folder.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise InputError(f"{path}: missing; download the checkpoint again") from error
    allowed = [home]
    if home.parent.name == "snapshots":
        allowed.append(home.parent.parent / "blobs")
    if not any(target.is_relative_to(place) for place in allowed):
        raise FormatError(path, "is a link that leaves the folder; put the file itself there")
    file_bytes(path)
    return path
