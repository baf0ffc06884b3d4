"""What to do to text before llama.cpp tokenizes it, where llama.cpp alone would differ.

A converted model carries these rules under `METADATA_KEY` only when its own tokenizer library does
something that llama.cpp cannot: Unicode normalization, a leading space in other places, tokens
that swallow the spaces around them. A runtime that finds the key loads the model with
`tokenizer.ggml.add_space_prefix` overridden to false and calls `TextRules.token_ids` where it
would have called llama_tokenize; BOS and EOS are added around the result as ever.
"""

import base64
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from functools import cache, cached_property
from typing import Literal, cast

from edgellm.errors import FormatError
from edgellm.jsonfields import JsonObject
from edgellm.tokenizer.added_tokens import AddedToken, TokenFinder

METADATA_KEY = "edgellm.tokenizer.rules"
SPACE = "\u2581"  # how sentencepiece vocabularies write a space

Form = Literal["NFC", "NFD", "NFKC", "NFKD"]
FORMS = ("NFC", "NFD", "NFKC", "NFKD")


class SpacePrefix(StrEnum):
    """Where a space is put before text."""

    NONE = "none"
    EACH = "each"  # every stretch of text between special tokens
    UNSPACED = "unspaced"  # every stretch between added tokens that has no leading space
    FIRST_UNSPACED = "first unspaced"  # the same, at the start of the whole text only


@dataclass(frozen=True)
class TextRules:
    """Text in, fragments out; `to_json` and `from_json` are exact inverses."""

    added_tokens: tuple[AddedToken, ...] = ()
    unicode_form: str = ""  # one of FORMS; empty for none
    charsmap: bytes = b""  # sentencepiece's compiled normalization rules
    charsmap_keeps: tuple[str, ...] = ()  # strings that the charsmap leaves as they are
    remove_extra_spaces: bool = False
    escape_spaces: bool = False  # a space becomes U+2581 before added tokens are looked for
    space_prefix: SpacePrefix = SpacePrefix.NONE
    spellings: tuple[tuple[int, tuple[int, ...]], ...] = ()  # ids that plain text never has

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, object], source: str) -> "TextRules | None":
        """The rules of a GGUF file; None when it needs none. Raises FormatError."""
        written = metadata.get(METADATA_KEY)
        if written is None:
            return None
        if not isinstance(written, str):
            raise FormatError(source, f"{METADATA_KEY} is not a string")
        return cls.from_json(written, source)

    def token_ids(
        self, text: str, parse_special: bool, tokenize: Callable[[str], Sequence[int]]
    ) -> list[int]:
        """The ids of a text, without BOS and EOS.

        tokenize: llama_tokenize with add_special=False, parse_special=False.
        """
        ids: list[int] = []
        for fragment in self.fragments(text, parse_special):
            if isinstance(fragment, int):
                ids.append(fragment)
            else:
                for token_id in tokenize(fragment):
                    ids += self.spelled(token_id)
        return ids

    def fragments(self, text: str, parse_special: bool) -> Iterator[int | str]:
        """Token ids and stretches of plain text, in order; no stretch is empty.

        With `parse_special` false, special tokens in the text are plain text.
        """
        raw, normalized = self._finders
        for start, stretch in raw.split(text, parse_special):
            if isinstance(stretch, int):
                yield stretch
                continue
            for offset, piece in normalized.split(self.normalize(stretch), parse_special):
                at_start = start == 0 and offset == 0
                yield piece if isinstance(piece, int) else self._prefixed(piece, at_start)

    def spelled(self, token_id: int) -> tuple[int, ...]:
        """What to put in the place of an id that llama.cpp gave for plain text."""
        return self._spellings.get(token_id, (token_id,))

    def normalize(self, text: str) -> str:
        """What a stretch without tokens becomes before tokens are looked for again."""
        if self.charsmap:
            text = self._apply_charsmap(text)
        if self.unicode_form:
            text = unicodedata.normalize(cast(Form, self.unicode_form), text)
        if self.remove_extra_spaces:
            text = re.sub(" {2,}", " ", text.lstrip(" ")).rstrip(" " + SPACE)
        if text and self.space_prefix is SpacePrefix.EACH:
            text = " " + text
        return text.replace(" ", SPACE) if self.escape_spaces else text

    def to_json(self) -> str:
        document = asdict(self) | {"charsmap": base64.b64encode(self.charsmap).decode("ascii")}
        return json.dumps(document, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str, source: str) -> "TextRules":
        """Read what `to_json` wrote; `source` names the file in errors. Raises FormatError."""
        try:
            fields = JsonObject.at(source, METADATA_KEY, json.loads(text))
            rules = cls(
                added_tokens=tuple(map(_added_token, fields.children("added_tokens"))),
                unicode_form=_one_of(fields.values["unicode_form"], ("", *FORMS)),
                charsmap=base64.b64decode(str(fields.values["charsmap"]), validate=True),
                charsmap_keeps=_strings(fields.values["charsmap_keeps"]),
                remove_extra_spaces=fields.flag("remove_extra_spaces"),
                escape_spaces=fields.flag("escape_spaces"),
                space_prefix=SpacePrefix(fields.text("space_prefix")),
                spellings=tuple(map(_spelling, _items(fields.values["spellings"]))),
            )
            rules.normalize("a")  # tells whether the charsmap is sound
        except (ValueError, KeyError, RecursionError, RuntimeError) as error:
            raise FormatError(source, f"{METADATA_KEY}: {error}") from error
        return rules

    @cached_property
    def _spellings(self) -> dict[int, tuple[int, ...]]:
        return dict(self.spellings)

    @cached_property
    def _finders(self) -> tuple[TokenFinder, TokenFinder]:
        """What finds tokens in raw text, and in normalized text."""
        return (
            TokenFinder([token for token in self.added_tokens if not token.normalized]),
            TokenFinder([token for token in self.added_tokens if token.normalized]),
        )

    def _prefixed(self, text: str, at_start: bool) -> str:
        wanted = self.space_prefix is SpacePrefix.UNSPACED or (
            at_start and self.space_prefix is SpacePrefix.FIRST_UNSPACED
        )
        space = SPACE if self.escape_spaces else " "
        return space + text if wanted and not text.startswith(space) else text

    def _apply_charsmap(self, text: str) -> str:
        normalize = _charsmap_normalizer(self.charsmap)
        if not self.charsmap_keeps:
            return normalize(text)
        longest_first = sorted(self.charsmap_keeps, key=len, reverse=True)
        parts = re.split(f"({'|'.join(map(re.escape, longest_first))})", text)
        return "".join(p if i % 2 else normalize(p) for i, p in enumerate(parts))


@cache
def _charsmap_normalizer(charsmap: bytes) -> Callable[[str], str]:
    """Sentencepiece's own normalizer, told to do nothing but the charsmap.

    Raises RuntimeError for a broken one.
    """
    from sentencepiece import SentencePieceNormalizer

    # A ModelProto (normalizer_spec is field 3) that holds the charsmap (field 2) alone.
    spec = _length_delimited(2, charsmap)
    normalizer = SentencePieceNormalizer(
        model_proto=_length_delimited(3, spec),
        add_dummy_prefix=False,
        escape_whitespaces=False,
        remove_extra_whitespaces=False,
    )
    return cast(Callable[[str], str], normalizer.Normalize)


def _length_delimited(field: int, content: bytes) -> bytes:
    """One protobuf field of bytes."""
    encoded = bytearray([field << 3 | 2])
    length = len(content)
    while length > 0x7F:
        encoded.append(length & 0x7F | 0x80)
        length >>= 7
    encoded.append(length)
    return bytes(encoded) + content


def _added_token(fields: JsonObject) -> AddedToken:
    return AddedToken(
        id=fields.integer("id"),
        text=fields.text("text"),
        special=fields.flag("special"),
        left_strip=fields.flag("left_strip"),
        right_strip=fields.flag("right_strip"),
        whole_word=fields.flag("whole_word"),
        normalized=fields.flag("normalized"),
    )


def _one_of(value: object, known: tuple[str, ...]) -> str:
    if isinstance(value, str) and value in known:
        return value
    raise ValueError(f"{str(value)[:40]!r} is not one of {', '.join(filter(None, known))}")


def _strings(value: object) -> tuple[str, ...]:
    items = _items(value)
    if all(isinstance(item, str) and item for item in items):
        return cast(tuple[str, ...], items)
    raise ValueError(f"{str(value)[:40]!r} is not a list of strings")


def _spelling(value: object) -> tuple[int, tuple[int, ...]]:
    token_id, ids = _items(value, length=2)
    return _token_id(token_id), tuple(map(_token_id, _items(ids)))


def _token_id(value: object) -> int:
    if type(value) is int and 0 <= value < 2**31:
        return value
    raise ValueError(f"{str(value)[:40]!r} is not a token id")


def _items(value: object, length: int | None = None) -> tuple[object, ...]:
    if isinstance(value, list) and length in (None, len(value)):
        return tuple(value)
    raise ValueError(f"{str(value)[:40]!r} is not a list")
