"""The form of settings."""

import pytest
from textual.widgets import Input

from edgellm.apps.chat.answering.settings import Settings
from edgellm.apps.chat.dialogs.settings import SettingsDialog
from tests.support.dialogs import asking
from tests.support.pilots import run


@pytest.mark.parametrize("name", ["temperature", "top_p", "when_full"])
def test_the_field_that_cannot_be_read_gets_the_keys(name: str) -> None:
    async def script() -> None:
        async with asking(SettingsDialog(Settings(), {})) as asked:
            field = asked.app.screen.query_one(f"#{name}", Input)
            field.value = "warm"
            asked.app.screen.query_one("#seed", Input).focus()
            await asked.press("7", "ctrl+s")
            assert asked.app.focused is field
            assert name in asked.text
            await asked.press("ctrl+u", "ctrl+s")
            await asked.until(lambda: asked.answers == [Settings(seed=7)])

    run(script())
