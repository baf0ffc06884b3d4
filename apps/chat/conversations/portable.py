"""Conversations in files for other programs and people, in two forms.

json_form.py has everything, markdown.py is for reading.
"""

import json
import re
from pathlib import Path

from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.json_form import from_json, to_json
from edgellm.apps.chat.conversations.markdown import BEGINNING, to_markdown
from edgellm.apps.chat.conversations.markdown_reading import read_markdown
from edgellm.apps.chat.conversations.texts import whole
from edgellm.errors import FormatError, InputError
from edgellm.files import write_file
from edgellm.json_file import file_bytes, os_reason, parse_json
from edgellm.jsonfields import JsonObject
from edgellm.units import format_bytes

MAX_FILE_BYTES = 128 << 20
_MAX_VALUES = 4_000_000  # 40 for each of the most turns that are read
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def export_json(conversation: Conversation, path: Path) -> None:
    """Write everything: all branches, cuts, attachments, figures. Raises OutputError."""
    text = json.dumps(to_json(conversation), indent=1, ensure_ascii=False, allow_nan=False)
    write_file(path, f"{whole(text)}\n".encode())


def export_markdown(conversation: Conversation, path: Path) -> None:
    """Write the turns from the first to the head, for people. Raises OutputError."""
    write_file(path, whole(to_markdown(conversation)).encode())


def read_portable(path: Path) -> Conversation:
    """A conversation from a file of either form, for `catalog.add`; its content tells the form.

    Raises InputError, and FormatError with the place of what is wrong.
    """
    raw = _read_bounded(path).removeprefix(_BYTE_ORDER_MARK)
    if raw.lstrip().startswith(b"{"):
        _require_few_values(raw, path)
        return from_json(JsonObject(str(path), "", parse_json(raw, path, len(raw))))
    if raw.startswith(BEGINNING.encode()):
        try:
            return read_markdown(raw.decode(), path)
        except UnicodeDecodeError as error:
            raise FormatError(path, "not UTF-8", error.start) from error
    raise FormatError(
        path,
        "neither a conversation in JSON nor Markdown with the comments that edgellm writes; only "
        "what edgellm has exported can be imported",
    )


def _read_bounded(path: Path) -> bytes:
    if (size_bytes := file_bytes(path)) > MAX_FILE_BYTES:
        most = format_bytes(MAX_FILE_BYTES)
        raise FormatError(path, f"{format_bytes(size_bytes)} long; at most {most} is read")
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {os_reason(error)}") from error


def _require_few_values(raw: bytes, path: Path) -> None:
    """Bound what will be built from a document, not counting what is within its texts."""
    outside = _STRING.sub(b"", raw)
    if sum(map(outside.count, (b",", b"[", b"{"))) > _MAX_VALUES:
        raise FormatError(path, f"more than {_MAX_VALUES} JSON values")
