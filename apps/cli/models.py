"""What a name on the command line stands for; a person at the terminal hears of the way there."""

import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import typer

from edgellm.apps.cli.child import edgellm_command
from edgellm.apps.cli.output import note
from edgellm.apps.cli.planning import PlanningOptions
from edgellm.apps.cli.progress_sinks import terminal_progress
from edgellm.apps.cli.settings import home
from edgellm.apps.finding import Finder, Loadable
from edgellm.children import child_environment
from edgellm.store import Store

if TYPE_CHECKING:
    from edgellm.checkpoint import Checkpoint

GRACE_S = 5.0  # for an interrupted conversion to end by itself


def finder(*, offline: bool) -> Finder:
    """Looks in the user's own store; speaks on stderr."""
    return Finder(Store(home()), offline, note, terminal_progress, run_aloud)


def open_reference(reference: str, *, offline: bool) -> "Checkpoint":
    """The checkpoint that a folder, a Hub name (fetched) or the bundled name stands for."""
    return finder(offline=offline).open_checkpoint(reference)


def find_loadable(
    model: str,
    options: PlanningOptions,
    *,
    offline: bool,
    threads: int | None,
    speculate: str | None = None,
) -> Loadable:
    """Turn MODEL into something an engine can load, converting a checkpoint on first use."""
    return finder(offline=offline).find(model, options, threads, speculate)


def run_aloud(arguments: list[str]) -> None:
    """Run edgellm with what it says going to our stderr; leaves as it did when it fails."""
    command = edgellm_command(*arguments)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=child_environment())
    try:
        code = process.wait()
    except BaseException:
        # Ctrl-C reached it as well: it says how to go on, and puts the terminal in order.
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE_S)
        raise
    finally:
        process.kill()
        process.wait()
    if code:
        raise typer.Exit(code)  # it has said why
