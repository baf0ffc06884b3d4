"""What is wanted of a conversion, as the command line takes it."""

from dataclasses import dataclass
from pathlib import Path

from edgellm.apps.chat.choosing.references import path_exists, reference_of
from edgellm.bundled import BUNDLED_NAME
from edgellm.checkpoint.hub import is_hub_name
from edgellm.errors import UsageError
from edgellm.units import exact_size, parse_size

_MOST_TOKENS = 1 << 30


@dataclass(frozen=True, slots=True)
class Order:
    """A conversion that somebody asked for."""

    checkpoint: str
    memory_bytes: int  # for everything
    context: int | None  # tokens; None is what the model or the settings say
    mode: str  # of sensitivity
    threads: int | None = None
    offline: bool = False

    @property
    def plan_arguments(self) -> list[str]:
        """`edgellm plan` and what follows."""
        context = [] if self.context is None else ["--context", str(self.context)]
        wanted = ["--memory", exact_size(self.memory_bytes), *context, "--sensitivity", self.mode]
        return ["plan", "--json", *wanted, *self._common_flags, "--", self.checkpoint]

    def convert_arguments(self, plan: Path, out: Path, *, overwrite: bool) -> list[str]:
        """`edgellm convert` of a plan that was saved."""
        flags = ["--plan", str(plan), "-o", str(out), *(["--overwrite"] if overwrite else [])]
        return ["convert", "--json", *flags, *self._common_flags, "--", self.checkpoint]

    @property
    def _common_flags(self) -> list[str]:
        threads = [] if self.threads is None else ["--threads", str(self.threads)]
        return [*threads, *(["--offline"] if self.offline else [])]


def read_checkpoint(typed: str) -> str:
    """A checkpoint as it is typed. Raises UsageError for what can be none."""
    reference = reference_of(typed)
    if not reference:
        raise UsageError("give a checkpoint: a folder, or a name on the Hub such as org/name")
    if path_exists(reference) or reference == BUNDLED_NAME or is_hub_name(reference):
        return reference
    raise UsageError(f"{reference!r}: no such folder; on the Hub: org/name or org/name@revision")


def read_memory(typed: str, default_bytes: int) -> int:
    """Bytes; nothing typed is the default. Raises UsageError."""
    return parse_size(typed) if typed.strip() else default_bytes


def read_context(typed: str, default: int | None) -> int | None:
    """Tokens; nothing typed is the default. Raises UsageError."""
    digits = typed.replace(",", "").strip()
    if not digits:
        return default
    if not digits.isdecimal() or not 1 <= int(digits) <= _MOST_TOKENS:
        raise UsageError(f"context {typed!r}: give a number of tokens, such as 8192")
    return int(digits)
