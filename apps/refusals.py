"""What an `edgellm` that failed in a process of its own has said, as the error it was."""

import signal
from pathlib import Path

from edgellm.errors import (
    BudgetError,
    Cancelled,
    EdgeLLMError,
    FormatError,
    InputError,
    RuntimeFailure,
    UsageError,
)
from edgellm.json_file import parse_json
from edgellm.jsonfields import JsonObject

_PREFIX = "edgellm: "
_REFUSED, _INTERRUPTED = 1, (130, -signal.SIGINT)
_RESUMED = ("plan", "convert")  # verbs that keep what they have done so far
_KINDS: tuple[tuple[int, type[EdgeLLMError]], ...] = ((2, UsageError), (3, InputError))


def refusal(error: BudgetError) -> dict[str, object]:
    """The JSON of something that does not fit."""
    return {
        "fits": False,
        "budget_bytes": error.budget_bytes,
        "needed_bytes": error.needed_bytes,
        "largest_context": error.largest_context,
        "memory": error.parts,
        "reason": str(error),
    }


def refused(verb: str, code: int, out: str, err: str) -> EdgeLLMError:
    """The error behind an exit code of `edgellm verb`; `out` and `err` are what was printed."""
    lines = [line for line in err.splitlines() if line.startswith(_PREFIX)]
    reason = lines[-1].removeprefix(_PREFIX) if lines else None
    if code == _REFUSED and (budget := _budget_error(out)) is not None:
        return budget
    if code in _INTERRUPTED:
        return Cancelled(reason) if reason else cancelled(verb)
    if reason is None:
        from edgellm.runtimes.worker.endings import ending

        return RuntimeFailure(f"edgellm {verb}", ending(code, err))
    if code == _REFUSED:
        return EdgeLLMError(reason)  # that of a verb, or a call, whose refusals have no figures
    kind = dict(_KINDS).get(code)
    return RuntimeFailure(f"edgellm {verb}", reason) if kind is None else kind(reason)


def cancelled(verb: str) -> Cancelled:
    """The error of an `edgellm verb` that was asked to stop."""
    resumed = "; the next one goes on from there" if verb in _RESUMED else ""
    return Cancelled(f"{verb} was cancelled{resumed}")


def _budget_error(out: str) -> BudgetError | None:
    """The refusal whose JSON was printed; None where something else was."""
    source = "stdout"
    try:
        fields = JsonObject.at(source, "", parse_json(out.encode("utf-8"), Path(source)))
        parts = fields.child("memory")
        return BudgetError(
            fields.text("reason"),
            needed_bytes=fields.integer("needed_bytes"),
            budget_bytes=fields.integer("budget_bytes"),
            largest_context=fields.integer("largest_context"),
            parts={name: parts.integer(name) for name in parts.values},
        )
    except FormatError:
        return None
