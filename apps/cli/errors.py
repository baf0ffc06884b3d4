"""Exit codes of the command line, and error text as one safe line."""

import typer

from edgellm.apps.cli import INTERRUPTED as INTERRUPTED
from edgellm.apps.terminal_text import printable as printable
from edgellm.errors import (
    BudgetError,
    Cancelled,
    InputError,
    OutputError,
    RuntimeFailure,
    UsageError,
)

USAGE = 2
EXIT_CODES: tuple[tuple[type[Exception], int], ...] = (
    (BudgetError, 1),
    (UsageError, USAGE),
    (typer.TyperException, USAGE),
    (InputError, 3),
    (OutputError, 4),
    (Cancelled, INTERRUPTED),
    (RuntimeFailure, 4),
)


def exit_code(error: Exception) -> int:
    """The documented exit code of an error."""
    return next(code for kind, code in EXIT_CODES if isinstance(error, kind))


def one_line(error: Exception) -> str:
    """The message of an error as one line that is safe to show in a terminal."""
    if isinstance(error, typer.TyperException):
        message = " ".join(getattr(error, "format_message", error.__str__)().split())
        end = "" if message.endswith((".", "?", "!")) else "."
        return f"{printable(message)}{end} See: edgellm --help"
    return printable(" ".join(str(error).split()))
