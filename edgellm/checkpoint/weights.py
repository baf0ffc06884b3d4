"""Which safetensors files hold a checkpoint's weights, and every tensor in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgellm.checkpoint.contained import contained_file
from edgellm.checkpoint.safetensors_header import StoredTensor, read_header
from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.json_file import read_json, show

SINGLE_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
MAX_INDEX_BYTES = 16 << 20
PICKLE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")

_SHARD_NAME = re.compile(r"[A-Za-z0-9._-]+\.safetensors")


@dataclass(frozen=True, slots=True)
class Weights:
    """The tensors of a checkpoint by name, and the files that decide them."""

    tensors: dict[str, StoredTensor]
    files: tuple[Path, ...]  # index first when there is one, then shards by name
    notices: tuple[str, ...]


def read_weights(folder: Path, names: Sequence[str]) -> Weights:
    """Find and check the safetensors files among `names`, the entries of `folder`."""
    found = [name for name in names if name.endswith(".safetensors")]
    # Mistral's own file holds the same weights under other names.
    usable = [name for name in found if not name.startswith("consolidated")]
    index = contained_file(folder, INDEX_FILE) if INDEX_FILE in names else None
    placed = _weight_map(index) if index else {}
    # Like transformers: a whole model.safetensors counts, unless the index names it as a shard.
    if index and (SINGLE_FILE not in usable or SINGLE_FILE in placed.values()):
        tensors, shards = _read_shards(index, placed)
        files: tuple[Path, ...] = (index, *shards)
    elif len(usable) == 1 or (index and SINGLE_FILE in usable):
        files = (contained_file(folder, SINGLE_FILE if index else usable[0]),)
        tensors = read_header(files[0])
    else:
        raise _unusable(folder, names, usable)
    return Weights(tensors, files, _notices(names, {path.name for path in files}))


def _notices(names: Sequence[str], used: set[str]) -> tuple[str, ...]:
    others = [name for name in names if name.endswith(".safetensors") and name not in used]
    pickles = [name for name in names if name.endswith(PICKLE_SUFFIXES)]
    return (
        *(f"{name}: ignored, not part of these weights" for name in others),
        *(f"{name}: ignored, a pickle can run code" for name in pickles),
    )


def _read_shards(index: Path, placed: dict[str, str]) -> tuple[dict[str, StoredTensor], list[Path]]:
    """Every tensor of every shard, each exactly where the index places it."""
    paths = [contained_file(index.parent, name) for name in sorted(set(placed.values()))]
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        for name, tensor in read_header(path).items():
            if placed.get(name) != path.name:
                raise FormatError(path, _misplaced(name, placed))
            tensors[name] = tensor
    absent = next((name for name in placed if name not in tensors), None)
    if absent is not None:
        problem = f"places {show(absent)} in {placed[absent]}, which does not hold it"
        raise FormatError(index, problem)
    return tensors, paths


def _misplaced(name: str, placed: dict[str, str]) -> str:
    where = f"places it in {placed[name]}" if name in placed else "does not list it"
    return f"holds tensor {show(name)}, but {INDEX_FILE} {where}"


def _weight_map(index: Path) -> dict[str, str]:
    document = read_json(index, MAX_INDEX_BYTES)
    listed = document.get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise FormatError(
            index, f"weight_map is {show(listed)}; expected file names by tensor name"
        )
    for name, shard in listed.items():
        if not isinstance(shard, str) or not _SHARD_NAME.fullmatch(shard):
            raise FormatError(
                index,
                f"weight_map places {show(name)} in {show(shard)}; expected the name of a "
                ".safetensors file in the same folder",
            )
    return listed


def _unusable(folder: Path, names: Sequence[str], usable: list[str]) -> InputError:
    """Why a folder without an index has no single file of weights."""
    if usable:
        found = ", ".join(usable[:3])
        return FormatError(
            folder,
            f"holds {len(usable)} safetensors files ({found}) but no {INDEX_FILE}; fetch the index",
        )
    pickles = [name for name in names if name.endswith(PICKLE_SUFFIXES)]
    if pickles:
        return UnsupportedError(
            f"{folder}: weights only as pickle ({pickles[0]}), which can run code when opened",
            ("safetensors",),
            "Name a revision that has safetensors, or save it again with save_pretrained()",
        )
    ggufs = [name for name in names if name.endswith(".gguf")]
    if ggufs:
        return UnsupportedError(
            f"{folder}: holds GGUF weights ({ggufs[0]})",
            ("safetensors",),
            f"Run the GGUF file itself: edgellm run {folder / ggufs[0]}",
        )
    return FormatError(folder, f"holds no weights; expected {SINGLE_FILE} or {INDEX_FILE}")
