"""Reads that both forms of an imported conversation share."""

from edgellm.apps.chat.conversations.records import ENDINGS
from edgellm.apps.chat.conversations.texts import has_halves
from edgellm.errors import FormatError
from edgellm.json_file import show
from edgellm.jsonfields import JsonObject

SCHEMA_VERSION = 1
MAX_TURNS = 100_000


def fault(fields: JsonObject, key: str, problem: str) -> FormatError:
    """What to raise for one field of a document."""
    return FormatError(fields.source, f"{fields.path}.{key}".removeprefix(".") + f" {problem}")


def read_text(fields: JsonObject, key: str) -> str:
    """A text that may be empty and can be stored."""
    if fields.values.get(key) == "":
        return ""
    text = fields.text(key)
    if has_halves(text):
        raise fault(fields, key, "holds half a character (a lone surrogate)")
    return text


def read_ending(fields: JsonObject) -> str:
    """How an answer ended."""
    ending = read_text(fields, "ending")
    if ending not in ENDINGS:
        known = ", ".join(sorted(ENDINGS))
        raise fault(fields, "ending", f"is {show(ending, 40)}; expected one of {known}")
    return ending


def require_version(fields: JsonObject) -> None:
    """Raise FormatError unless the document is of the version that is read here."""
    version = fields.integer("schema_version")
    if version != SCHEMA_VERSION:
        raise fault(
            fields,
            "schema_version",
            f"is {version}; this edgellm reads {SCHEMA_VERSION}: update it",
        )


def require_few_turns(source: str, turns: int) -> None:
    """Raise FormatError for more turns than anybody has said."""
    if turns > MAX_TURNS:
        raise FormatError(source, f"more than {MAX_TURNS} turns, which is the most that is read")
