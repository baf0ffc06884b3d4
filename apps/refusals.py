"""What an `edgellm` that failed in a process of its own has said, as the error it was."""

import json

from edgellm.errors import BudgetError, EdgeLLMError, InputError, RuntimeFailure, UsageError

_PREFIX = "edgellm: "


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


def refused(code: int, out: str, err: str) -> EdgeLLMError:
    """The error behind an exit code; `out` and `err` are what was printed."""
    lines = [line for line in err.splitlines() if line.startswith(_PREFIX)]
    reason = lines[-1].removeprefix(_PREFIX) if lines else f"it ended with exit code {code}"
    if code == 1 and out:
        fields = json.loads(out)
        return BudgetError(
            fields["reason"],
            needed_bytes=fields["needed_bytes"],
            budget_bytes=fields["budget_bytes"],
            largest_context=fields["largest_context"],
            parts=fields["memory"],
        )
    kinds: dict[int, type[EdgeLLMError]] = {2: UsageError, 3: InputError}
    return kinds[code](reason) if code in kinds else RuntimeFailure("conversion", reason)
