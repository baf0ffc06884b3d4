"""Errors on their way from one process to the other: JSON, and nothing that runs code."""

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from edgellm.errors import (
    BudgetError,
    Cancelled,
    EdgeLLMError,
    FormatError,
    InputError,
    IntegrityError,
    OutputError,
    RuntimeFailure,
    UnsupportedError,
    UsageError,
)
from edgellm.runtimes.worker.frames import FrameError

# Every error of the tree with the attributes it carries beside its text.
ATTRIBUTES: Mapping[type[EdgeLLMError], Mapping[str, Any]] = MappingProxyType(
    {
        EdgeLLMError: {},
        UsageError: {},
        InputError: {},
        FormatError: {"path": str, "offset": int | None},
        UnsupportedError: {"what": str, "have": tuple[str, ...]},
        IntegrityError: {},
        BudgetError: {
            "needed_bytes": int,
            "budget_bytes": int,
            "largest_context": int,
            "parts": dict[str, int],
        },
        OutputError: {},
        RuntimeFailure: {"engine": str},
        Cancelled: {},
    }
)
_BY_NAME = {kind.__name__: kind for kind in ATTRIBUTES}


class _Record(msgspec.Struct):
    kind: str
    text: str
    attributes: dict[str, Any]


def encode_error(error: EdgeLLMError) -> bytes:
    """An error of a class that is not in the table crosses as the nearest one that is."""
    kind = next(base for base in type(error).__mro__ if base in ATTRIBUTES)
    attributes = {name: getattr(error, name) for name in ATTRIBUTES[kind]}
    record = {"kind": kind.__name__, "text": str(error), "attributes": attributes}
    # Python's own JSON keeps file names that are no Unicode; `default` turns paths into text.
    return json.dumps(record, default=str).encode("ascii")


def decode_error(body: bytes) -> EdgeLLMError:
    """The same class with the same text and attributes. Raises FrameError."""
    try:
        record = msgspec.convert(json.loads(body), _Record)
        kind = _BY_NAME[record.kind]
        attributes = {
            name: msgspec.convert(record.attributes[name], expected)
            for name, expected in ATTRIBUTES[kind].items()
        }
    except (ValueError, KeyError, RecursionError) as problem:
        raise FrameError("an error that cannot be read") from problem
    # Not through __init__, which would write the text again.
    error = kind.__new__(kind, record.text)
    for name, value in attributes.items():
        setattr(error, name, value)
    return error
