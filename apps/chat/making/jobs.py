"""Planning and converting, each in a process of its own. These wait: call them on a thread."""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from edgellm.apps.chat.hearing import Hearing
from edgellm.apps.chat.making.order import Order
from edgellm.apps.chat.making.subject import Subject, look_at_checkpoint
from edgellm.apps.child_runs import run_child
from edgellm.artifact import Artifact, read_manifest
from edgellm.files import write_json
from edgellm.json_file import parse_json
from edgellm.plan import Plan
from edgellm.runtimes.cancel import CancelToken
from edgellm.store import Store

_SOURCE = "edgellm plan"


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan that fits, with what it was made from."""

    order: Order
    subject: Subject
    plan: Plan
    notes: tuple[str, ...]  # what was said along the way


def make_plan(order: Order, store: Store, hearing: Hearing, cancel: CancelToken) -> Planned:
    """Raises BudgetError, InputError, UsageError, RuntimeFailure, Cancelled."""
    out = run_child(
        order.plan_arguments, progress=hearing.progress, note=hearing.note, cancel=cancel
    )
    plan = Plan.from_json(parse_json(out.encode(), Path(_SOURCE)), _SOURCE)
    # By now it lies here, wherever it came from.
    subject = look_at_checkpoint(order.checkpoint, store, order.threads)
    return Planned(order, subject, plan, hearing.notes)


def convert(
    planned: Planned, out: Path, overwrite: bool, hearing: Hearing, cancel: CancelToken
) -> Artifact:
    """Make the model that was planned in the folder `out`. Raises what make_plan raises."""
    with TemporaryDirectory(prefix="edgellm-plan-") as folder:
        path = Path(folder) / "plan.json"
        write_json(path, planned.plan.to_json())
        arguments = planned.order.convert_arguments(path, out, overwrite=overwrite)
        run_child(arguments, progress=hearing.progress, note=hearing.note, cancel=cancel)
    return read_manifest(out)
