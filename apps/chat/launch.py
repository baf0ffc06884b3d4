"""From the command line to the app and back: the terminal before, and the last line after."""

import os
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING

from edgellm.apps.chat.collecting import nothing_collected
from edgellm.apps.chat.first_frame import first_frame
from edgellm.apps.chat.guard import guarded_driver, terminal_guard
from edgellm.apps.chat.start import Start
from edgellm.errors import OutputError, RuntimeFailure, UsageError
from edgellm.files import keep_file

if TYPE_CHECKING:
    from edgellm.apps.chat.app import ChatApp

CRASH_LOG = "crash.log"


def run_chat(start: Start) -> None:
    """Run the chat in this terminal until it is left.

    Raises UsageError without a terminal, what opening the conversations raises, and RuntimeFailure
    for a defect of the chat's own.
    """
    if not os.environ.get("TEXTUAL_DRIVER") and not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError("edgellm chat needs a terminal; in scripts and pipes: edgellm run MODEL")
    with terminal_guard() as guard:
        with first_frame(guard.entering, guard.left), nothing_collected():
            from edgellm.apps.chat.app import ChatApp

            app = ChatApp(start, guarded_driver(guard))
        app.run()
    if app.failure is not None:
        raise app.failure
    if app.crash is not None:
        raise _crashed(app, start)


def _crashed(app: "ChatApp", start: Start) -> RuntimeFailure:
    """One line for a defect; where it was goes to a file."""
    crash = app.crash
    assert crash is not None
    path = start.folder / CRASH_LOG
    details = "".join(traceback.format_exception(crash))
    with suppress(OutputError):
        keep_file(path, details.encode("utf-8", "replace"))
    return RuntimeFailure(
        "chat",
        f"ended by a defect: {type(crash).__name__}: {crash}; every conversation is kept, what "
        f"went wrong is in {path}",
    )
