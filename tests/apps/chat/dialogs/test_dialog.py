"""What every dialog shares."""

from collections.abc import Callable
from typing import Any

import pytest
from rich.text import Text
from textual import events
from textual.app import App

from edgellm.apps.chat.answering.settings import Settings
from edgellm.apps.chat.dialogs.dialog import Dialog
from edgellm.apps.chat.dialogs.picker import Choice, Picker
from edgellm.apps.chat.dialogs.settings import SettingsDialog
from edgellm.apps.chat.dialogs.writing import TextDialog
from tests.support.pilots import end, run, wait_until


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda: Picker("Which?", [Choice("heron", Text("heron"))]), "down"),
        (lambda: SettingsDialog(Settings(), {}), "ctrl+s"),
        (lambda: TextDialog("Text", "a heron"), "ctrl+s"),
    ],
    ids=["picker", "settings", "text"],
)
def test_a_key_that_comes_before_the_widgets_ends_nothing(
    make: Callable[[], Dialog[Any]], key: str
) -> None:
    async def script() -> None:
        app: App[None] = App()
        async with app.run_test() as pilot:
            dialog, answers = make(), list[object]()
            app.push_screen(dialog, answers.append)
            app.post_message(events.Key(key, None))
            await wait_until(pilot, lambda: app.screen is dialog and dialog.is_mounted)
            await pilot.press("escape")
            await wait_until(pilot, lambda: answers == [None])
            await end(pilot)

    run(script())
