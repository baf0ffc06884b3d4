"""How a conversation is answered; kept with it, as JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any

from edgellm.errors import UsageError

if TYPE_CHECKING:  # the chat is on the screen before this is imported
    from edgellm.runtimes.api.asking import AnswerOptions

ASK, TRIM = "ask", "trim"  # what to do when the context is full
WHEN_FULL = (ASK, TRIM)
ANY_JSON = '{"type": "object"}'
_OFF = ("", "auto", "default", "off", "none")


@dataclass(frozen=True, slots=True)
class Settings:
    """What is None is the model's own choice."""

    temperature: float | None = None  # 0 always takes the likeliest token
    top_k: int | None = None  # 0 keeps every token
    top_p: float | None = None  # 1 keeps every token
    min_p: float | None = None  # 0 keeps every token
    repeat_penalty: float | None = None  # 1 is none
    seed: int | None = None  # the same seed gives the same text
    max_tokens: int | None = None  # of one answer
    thinking: bool | None = None  # whether to think first, where the model lets one choose
    json_schema: str | None = None  # what every answer must fit
    when_full: str = ASK  # one of WHEN_FULL

    def __post_init__(self) -> None:
        if self.when_full not in WHEN_FULL:
            raise UsageError(f"when_full is {self.when_full!r}; expected {' or '.join(WHEN_FULL)}")
        if options := self.options():
            _check(options)

    def options(self) -> "AnswerOptions":
        """What an answer is asked with; only what was set."""
        given: Any = {
            field.name: value
            for field in fields(self)
            if field.name != "when_full" and (value := getattr(self, field.name)) is not None
        }
        options: AnswerOptions = given
        return options

    def to_json(self) -> dict[str, Any]:
        """Only what was set; `read` is the inverse."""
        changed = {} if self.when_full == ASK else {"when_full": self.when_full}
        return {**self.options(), **changed}

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> "Settings":
        """What was kept, perhaps by another version: what means nothing here is left out."""
        settings = cls()
        for name, value in kept.items():
            if name not in KINDS or type(value) not in _TYPES[KINDS[name]]:
                continue
            try:
                settings = replace(settings, **{name: value})
            except UsageError:
                continue
        return settings

    def changed(self, name: str, text: str) -> "Settings":
        """With a setting as it is typed; "auto" and "off" give it back to the model.

        Raises UsageError.
        """
        name = name.replace("-", "_").lower()
        if name not in KINDS:
            raise UsageError(f"no setting {name!r}; known: {', '.join(KINDS)}")
        return replace(self, **{name: _typed(name, text.strip())})


KINDS: Mapping[str, str] = {
    "temperature": "number",
    "top_k": "whole number",
    "top_p": "number",
    "min_p": "number",
    "repeat_penalty": "number",
    "seed": "whole number",
    "max_tokens": "whole number",
    "thinking": "flag",
    "json_schema": "text",
    "when_full": "choice",
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "number": (float, int),
    "whole number": (int,),
    "flag": (bool,),
    "text": (str,),
    "choice": (str,),
}


def _check(options: "AnswerOptions") -> None:
    """Raises UsageError."""
    from edgellm.runtimes.api.asking import generate_call
    from edgellm.runtimes.options import SamplingOptions

    of_plain_text: Any = {name: value for name, value in options.items() if name != "thinking"}
    generate_call("", SamplingOptions(), of_plain_text)


def _typed(name: str, text: str) -> Any:
    kind = KINDS[name]
    if kind == "choice":
        return ASK if text.lower() in _OFF else text.lower()
    if kind == "flag":
        return _flag(name, text.lower())
    if text.lower() in _OFF:
        return None
    if kind == "text":
        return text
    try:
        value = int(text) if kind == "whole number" else float(text)
    except ValueError:
        raise UsageError(f"{name} is {text!r}; expected a {kind}, or auto") from None
    if not math.isfinite(value):
        raise UsageError(f"{name} is {text!r}; expected a {kind}, or auto")
    return value


def _flag(name: str, text: str) -> bool | None:
    words = {"on": True, "yes": True, "true": True, "off": False, "no": False, "false": False}
    if text in words:
        return words[text]
    if text in _OFF:
        return None
    raise UsageError(f"{name} is {text!r}; expected on, off or auto")
