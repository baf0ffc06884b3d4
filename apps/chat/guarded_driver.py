"""Textual's Linux driver, which tells the guard what it does and bears the loss of its terminal."""

import os
import sys
from contextlib import suppress
from typing import IO, TYPE_CHECKING, Any, cast

from textual.drivers.linux_driver import LinuxDriver
from textual.messages import ExitApp

from edgellm.apps.chat.guard import TerminalGuard

if TYPE_CHECKING:
    from textual.app import App


def driver_of(guard: TerminalGuard) -> type[LinuxDriver]:
    """A driver class whose instances report to this guard."""

    class GuardedDriver(LinuxDriver):
        """Reports entering and leaving; a terminal that is gone ends the app, not its writers."""

        def __init__(self, app: "App[Any]", **options: Any) -> None:
            super().__init__(app, **options)
            self._file = cast("Any", _Forgiving(sys.__stderr__))

        def start_application_mode(self) -> None:
            guard.entering()
            super().start_application_mode()  # type: ignore[no-untyped-call]
            guard.entered()

        def resume_application_mode(self) -> None:
            # The kernel sends SIGCONT behind SIGHUP; there is nothing to draw on any more.
            if os.isatty(self.fileno):
                super().resume_application_mode()

        def close(self) -> None:
            super().close()  # waits until all is written
            guard.left()

        def run_input_thread(self) -> None:
            try:
                super().run_input_thread()
            except OSError:
                self.send_message(ExitApp())

    return GuardedDriver


class _Forgiving:
    """A terminal that may go away: the thread that writes must live, or its queue fills up."""

    def __init__(self, file: IO[str] | None) -> None:
        assert file is not None  # the guard found a terminal there
        self._file = file

    def write(self, text: str) -> None:
        with suppress(OSError):
            self._file.write(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._file.flush()

    def fileno(self) -> int:
        return self._file.fileno()
