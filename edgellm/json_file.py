"""JSON from strangers: bounded in bytes and values, no duplicate keys, no NaN."""

import json
import reprlib
import stat
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn

from edgellm.errors import FormatError, InputError
from edgellm.units import format_bytes

MAX_CONFIG_BYTES = 4 << 20  # the largest published config.json is below 100 kB
MAX_VALUES = 2_000_000  # twice what the merges of a 128k-token vocabulary take


def show(value: object, limit: int = 80) -> str:
    """Quote a value from a file for an error: one line, printable, cut at `limit` characters."""
    brief = reprlib.Repr()  # a plain repr of a hostile list costs time and memory
    brief.maxstring = brief.maxother = limit
    brief.maxlist = 8
    text = brief.repr(value)
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def os_reason(error: OSError | ValueError) -> str:
    """Why the system refused, without the path and number that str(error) repeats."""
    return getattr(error, "strerror", None) or str(error)


def file_bytes(path: Path) -> int:
    """Size of a regular file. Raises InputError when it is missing or something else."""
    try:
        facts = path.stat()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from error
    if not stat.S_ISREG(facts.st_mode):
        raise InputError(f"{path}: not a regular file")
    return facts.st_size


def read_json(path: Path, max_bytes: int = MAX_CONFIG_BYTES) -> dict[str, object]:
    """Read a file that holds one JSON object. Raises InputError or FormatError."""
    size_bytes = file_bytes(path)
    if size_bytes > max_bytes:
        raise FormatError(
            path, f"{format_bytes(size_bytes)} of JSON; at most {format_bytes(max_bytes)} is read"
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from error
    return parse_json(raw, path)


def parse_json(raw: bytes, path: Path, max_values: int = MAX_VALUES) -> dict[str, object]:
    """Read one JSON object from bytes; `path` names the file in errors. Raises FormatError."""
    # Commas and brackets bound the number of values, before anything is built from them.
    if sum(map(raw.count, (b",", b"[", b"{"))) > max_values:
        raise FormatError(path, f"more than {max_values} JSON values")
    try:
        document: object = json.loads(
            raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant
        )
    except UnicodeDecodeError as error:
        raise FormatError(path, "not UTF-8", error.start) from error
    except json.JSONDecodeError as error:
        raise FormatError(path, f"not JSON: {error.msg}", error.pos) from error
    except RecursionError as error:
        raise FormatError(path, "JSON nested too deeply") from error
    except ValueError as error:
        raise FormatError(path, str(error)) from error
    if not isinstance(document, dict):
        raise FormatError(path, f"holds {show(document, 40)}; expected a JSON object")
    return document


def _unique(pairs: list[tuple[str, object]]) -> Mapping[str, object]:
    values = dict(pairs)
    if len(values) < len(pairs):
        repeated, _ = Counter(name for name, _ in pairs).most_common(1)[0]
        raise ValueError(f"the key {show(repeated)} appears twice")
    return values


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
