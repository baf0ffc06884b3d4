"""Help with writing a question: what was sent before, and one's own editor."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from edgellm.apps.chat.conversations import remembered
from edgellm.apps.chat.dialogs.picker import Choice, Picker
from edgellm.apps.terminal_text import one_line
from edgellm.errors import InputError, UsageError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

_MOST = 500


async def history(chat: "ChatScreen", argument: str) -> None:
    """Put a question that was sent before into the prompt."""
    texts = await chat.desk.archive.do(remembered.list_said, _MOST)
    chosen = await chat.ask(
        Picker(
            "Sent before",
            [
                Choice(text, Text(one_line(text)[:400], no_wrap=True, overflow="ellipsis"), text)
                for text in texts
            ],
            empty="Nothing was sent yet.",
        )
    )
    if chosen is not None:
        chat.prompt.fill(chosen)
    chat.prompt.focus()


async def editor(chat: "ChatScreen", argument: str) -> None:
    """Let the user's editor change what is in the prompt."""
    command = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not command:
        raise UsageError("there is no editor: set $EDITOR, such as EDITOR=nano")
    if chat.app.is_web:
        raise UsageError("an editor needs a terminal; this chat is in a browser")
    with tempfile.TemporaryDirectory(prefix="edgellm-") as folder:
        draft = Path(folder) / "question.md"
        draft.write_text(chat.prompt.text, encoding="utf-8")
        with chat.app.suspend():
            _run(command, draft)
        try:
            chat.prompt.fill(draft.read_text(encoding="utf-8").rstrip("\n"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(
                f"{draft.name}: what the editor left cannot be read: {error}"
            ) from error
    chat.prompt.focus()


def _run(command: str, draft: Path) -> None:
    try:
        subprocess.run([*shlex.split(command), str(draft)])
    except (OSError, ValueError) as error:
        raise InputError(f"{command}: cannot be started: {error}; see $EDITOR") from error
