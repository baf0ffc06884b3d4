"""A real terminal for tests: tmux, driven by keys and read as a person reads it."""

import os
import shlex
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Self

_LOOK_S = 0.05
HAS_TMUX = shutil.which("tmux") is not None


class Terminal:
    """One tmux session with a server of its own; a context manager that ends it."""

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        columns: int = 100,
        rows: int = 30,
    ) -> None:
        """command: run by a shell, which stays when it has ended and tells its exit code."""
        self._socket = f"edgellm-test-{uuid.uuid4().hex[:8]}"
        line = f"{shlex.join(command)}; echo ended with $?; stty -a; exec cat"
        self._tmux(
            "new-session", "-d", "-x", str(columns), "-y", str(rows), line, environment=environment
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._tmux("kill-server", check=False)

    @property
    def screen(self) -> str:
        """What is seen now."""
        return self._tmux("capture-pane", "-p")

    @property
    def process(self) -> int:
        """The shell that runs the command."""
        return int(self._tmux("display-message", "-p", "#{pane_pid}"))

    @property
    def is_on_alternate_screen(self) -> bool:
        return self._tmux("display-message", "-p", "#{alternate_on}").strip() == "1"

    def type(self, text: str) -> None:
        self._tmux("send-keys", "-l", text)

    def press(self, *keys: str) -> None:
        """Keys by tmux's names, such as Enter, Escape, C-q, M-Up."""
        self._tmux("send-keys", *keys)

    def wait_for(self, what: str | Callable[[str], object], seconds: float = 30) -> str:
        """The screen, once it shows this text or fulfils this condition."""
        deadline = time.monotonic() + seconds
        while True:
            screen = self.screen
            if what in screen if isinstance(what, str) else what(screen):
                return screen
            assert time.monotonic() < deadline, f"never seen: {what}\n{screen}"
            time.sleep(_LOOK_S)

    def _tmux(
        self, *words: str, check: bool = True, environment: Mapping[str, str] | None = None
    ) -> str:
        # -f: not the settings of whoever runs the tests; -u: its output is UTF-8.
        command = ["tmux", "-u", "-f", os.devnull, "-L", self._socket, *words]
        done = subprocess.run(
            command, env=environment, check=check, stdout=subprocess.PIPE, text=True, timeout=30
        )
        return done.stdout
