"""What the JSON files beside a tokenizer say: special tokens, added tokens, chat template."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgellm.checkpoint import Fields, TokenizerFiles
from edgellm.errors import FormatError, InputError
from edgellm.json_file import file_bytes, read_json, show
from edgellm.tokenizer.added_tokens import AddedToken
from edgellm.units import format_bytes

MAX_TEMPLATE_BYTES = 256 << 10
MAX_ADDED_CHARS = 1024
MAX_TOKEN_ID = 2**31 - 1
SPECIAL_NAMES = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True, slots=True)
class TokenizerSettings:
    """tokenizer_config.json and its neighbours; empty where they say nothing."""

    special: Mapping[str, str] = field(default_factory=dict)  # "bos_token" and so on: its text
    added: tuple[AddedToken, ...] = ()  # by id
    add_bos: bool | None = None
    add_eos: bool | None = None
    chat_template: str | None = None
    named_templates: Mapping[str, str] = field(default_factory=dict)  # other than the default


def read_tokenizer_settings(files: TokenizerFiles) -> TokenizerSettings:
    """Read the files that are there. Raises InputError or FormatError."""
    config = _fields(files.tokenizer_config)
    special_map = _fields(files.special_tokens_map)
    special: dict[str, str] = {}
    for name in SPECIAL_NAMES:
        text = _token_text(config, name) or _token_text(special_map, name)
        if text:
            special[name] = text
    templates = _templates(files, config)
    return TokenizerSettings(
        special=special,
        added=_added_tokens(config, special_map, files.added_tokens, special),
        add_bos=config.boolean("add_bos_token", False) if config.has("add_bos_token") else None,
        add_eos=config.boolean("add_eos_token", False) if config.has("add_eos_token") else None,
        chat_template=templates.pop("default", None),
        named_templates=templates,
    )


def _fields(path: Path | None) -> Fields:
    return Fields(path or Path(), read_json(path) if path else {})


def _token_text(fields: Fields, name: str) -> str | None:
    """A token is written as its text, or as an object that holds it in `content`."""
    if isinstance(fields.values.get(name), dict):
        nested = fields.section(name)
        return nested.text("content") if nested else None
    return fields.text(name)


def _added_tokens(
    config: Fields, special_map: Fields, added_file: Path | None, special: Mapping[str, str]
) -> tuple[AddedToken, ...]:
    controls = {*special.values(), *_additional(config), *_additional(special_map)}
    found: dict[int, AddedToken] = {}
    if added_file is not None:
        fields = _fields(added_file)
        for text in fields.values:
            if not 0 < len(text) <= MAX_ADDED_CHARS:
                raise FormatError(
                    added_file, f"token {show(text)}; expected 1 to {MAX_ADDED_CHARS} characters"
                )
            token_id = fields.integer(text, low=0, high=MAX_TOKEN_ID)
            found[token_id] = AddedToken(token_id, text, special=text in controls)
    if decoder := config.section("added_tokens_decoder"):
        for name in decoder.values:
            token = _decoder_token(decoder, name)
            found[token.id] = token
    return tuple(found[token_id] for token_id in sorted(found))


def _additional(fields: Fields) -> list[str]:
    items = fields.values.get("additional_special_tokens")
    if not isinstance(items, list):
        return []
    texts = [item.get("content") if isinstance(item, dict) else item for item in items]
    return [text for text in texts if isinstance(text, str)]


def _decoder_token(decoder: Fields, name: str) -> AddedToken:
    entry = decoder.section(name)
    if not (name.isascii() and name.isdigit() and len(name) < 10) or entry is None:
        raise decoder.fault(name, "an added token under its id")
    return added_token(entry, int(name))


def added_token(fields: Fields, token_id: int) -> AddedToken:
    """An added token as tokenizer.json and tokenizer_config.json write it."""
    text = fields.text("content")
    if not text or len(text) > MAX_ADDED_CHARS:
        raise fields.fault("content", f"a token's text of at most {MAX_ADDED_CHARS} characters")
    special = fields.boolean("special", False)
    return AddedToken(
        id=token_id,
        text=text,
        special=special,
        left_strip=fields.boolean("lstrip", False),
        right_strip=fields.boolean("rstrip", False),
        whole_word=fields.boolean("single_word", False),
        normalized=fields.boolean("normalized", not special),
    )


def _templates(files: TokenizerFiles, config: Fields) -> dict[str, str]:
    """Chat templates by name; chat_template.jinja replaces the default of tokenizer_config.json."""
    written = config.values.get("chat_template")
    templates: dict[str, str] = {}
    if isinstance(written, str):
        templates["default"] = written
    elif written is not None:
        templates = _named_templates(config, written)
    if files.chat_template is not None:
        templates["default"] = _template_file(files.chat_template)
    for name, text in templates.items():
        _check_template(config.path, name, text)
    return templates


def _check_template(path: Path, name: str, text: str) -> None:
    try:
        size_bytes = len(f"{name}{text}".encode())
    except UnicodeEncodeError as error:
        raise FormatError(path, f"chat template {show(name)} has half a surrogate") from error
    if size_bytes > MAX_TEMPLATE_BYTES:
        limit = format_bytes(MAX_TEMPLATE_BYTES)
        raise FormatError(path, f"chat template {show(name)} is larger than {limit}")


def _named_templates(config: Fields, written: object) -> dict[str, str]:
    templates: dict[str, str] = {}
    for entry in written if isinstance(written, list) else [None]:
        name, text = (
            (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
        )
        if not isinstance(name, str) or not isinstance(text, str):
            raise config.fault("chat_template", "a string, or a list of templates with names")
        templates[name] = text
    return templates


def _template_file(path: Path) -> str:
    size_bytes = file_bytes(path)
    if size_bytes > MAX_TEMPLATE_BYTES:
        limit = format_bytes(MAX_TEMPLATE_BYTES)
        raise FormatError(path, f"{format_bytes(size_bytes)}; a chat template has at most {limit}")
    try:
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise FormatError(path, "not UTF-8", error.start) from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
