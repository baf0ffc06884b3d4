"""Which safetensors files hold a checkpoint's weights, and every tensor in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgellm.checkpoint.contained import contained_file
from edgellm.checkpoint.json_file import read_json, show
from edgellm.checkpoint.safetensors_header import StoredTensor, read_header
from edgellm.errors import FormatError, InputError, UnsupportedError

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
    shards = [name for name in names if name.endswith(".safetensors")]
    native = [name for name in shards if name.startswith("consolidated")]
    usable = [name for name in shards if name not in native]
    notices = [f"{name}: ignored, holds the same weights under other names" for name in native]
    notices += [
        f"{name}: ignored, a pickle can run code"
        for name in names
        if name.endswith(PICKLE_SUFFIXES)
    ]
    if INDEX_FILE in names:
        return _read_indexed(folder, usable, tuple(notices))
    if len(usable) == 1:
        path = contained_file(folder, usable[0])
        return Weights(read_header(path), (path,), tuple(notices))
    raise _unusable(folder, names, usable)


def _read_indexed(folder: Path, usable: list[str], notices: tuple[str, ...]) -> Weights:
    index = contained_file(folder, INDEX_FILE)
    listed = _weight_map(index)
    shard_names = sorted(set(listed.values()))
    paths = [contained_file(folder, name) for name in shard_names]
    tensors = _merge(index, listed, paths)
    unused = [f"{name}: ignored, not in {INDEX_FILE}" for name in usable if name not in shard_names]
    return Weights(tensors, (index, *paths), (*notices, *unused))


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


def _merge(index: Path, listed: dict[str, str], paths: list[Path]) -> dict[str, StoredTensor]:
    """Every tensor of every shard, each exactly where the index says."""
    tensors: dict[str, StoredTensor] = {}
    for path in paths:
        for name, tensor in read_header(path).items():
            if name in tensors:
                raise FormatError(path, f"tensor {show(name)} is also in {tensors[name].path.name}")
            if listed.get(name) != path.name:
                raise FormatError(path, f"tensor {show(name)} is not placed here by {index.name}")
            tensors[name] = tensor
    absent = next((name for name in listed if name not in tensors), None)
    if absent is not None:
        raise FormatError(
            index, f"places {show(absent)} in {listed[absent]}, which does not hold it"
        )
    return tensors


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
