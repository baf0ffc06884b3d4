"""Every error edgellm raises.

    EdgeLLMError
    ├── UsageError             a value the caller gave cannot mean anything
    ├── InputError             something read from outside is not usable
    │   ├── FormatError        a file breaks its format
    │   ├── UnsupportedError   well formed, but edgellm has no support for it
    │   └── IntegrityError     a file is not the one its manifest describes
    ├── BudgetError            the model does not fit the memory it was given
    ├── OutputError            a result could not be written
    ├── RuntimeFailure         an engine failed
    └── Cancelled              the caller asked for work to stop

The text of each is one line: what, where, got, expected, next step.
"""

from collections.abc import Mapping, Sequence
from os import PathLike


class EdgeLLMError(Exception):
    """Base of everything edgellm raises on purpose."""


class UsageError(EdgeLLMError):
    """A value the caller gave cannot mean anything: a bare size, an unknown format name."""


class InputError(EdgeLLMError):
    """Something read from outside (checkpoint, GGUF, tokenizer, template) is not usable."""


class FormatError(InputError):
    """A file breaks its format.

    path: the file. offset: byte where the fault was seen, when there is one.
    """

    def __init__(self, path: str | PathLike[str], problem: str, offset: int | None = None) -> None:
        at = "" if offset is None else f" (byte {offset})"
        super().__init__(f"{path}: {problem}{at}")
        self.path = path
        self.offset = offset


class UnsupportedError(InputError):
    """Well formed, but edgellm has no support for it.

    what: the thing asked for. have: what is supported instead.
    """

    def __init__(self, what: str, have: Sequence[str] = (), next_step: str = "") -> None:
        supported = f"; supported: {', '.join(have)}" if have else ""
        step = f". {next_step}" if next_step else ""
        super().__init__(f"{what}{supported}{step}")
        self.what = what
        self.have = tuple(have)


class IntegrityError(InputError):
    """A file is not the one its manifest describes."""


class BudgetError(EdgeLLMError):
    """The model does not fit the memory it was given.

    needed_bytes: the smallest budget that would do. parts: what that budget consists of, in bytes.
    largest_context: tokens that would fit the budget as it is; 0 when no context does.
    """

    def __init__(
        self,
        problem: str,
        *,
        needed_bytes: int,
        budget_bytes: int,
        largest_context: int,
        parts: Mapping[str, int],
    ) -> None:
        super().__init__(problem)
        self.needed_bytes = needed_bytes
        self.budget_bytes = budget_bytes
        self.largest_context = largest_context
        self.parts = dict(parts)


class OutputError(EdgeLLMError):
    """A result could not be written: disk full, no permission, a name already taken."""


class RuntimeFailure(EdgeLLMError):
    """An engine failed; `engine` names it."""

    def __init__(self, engine: str, problem: str) -> None:
        super().__init__(f"{engine}: {problem}")
        self.engine = engine


class Cancelled(EdgeLLMError):
    """The caller asked for work to stop, and it did."""
