"""The panel of facts beside the chat."""

from dataclasses import replace
from typing import Any

import pytest
from textual.app import App, ComposeResult
from textual.screen import Screen

from edgellm.apps.chat.widgets.side_panel import PanelView, SidePanel, facts
from tests.support.pilots import run

VIEW = PanelView(model="heron-3b", used_tokens=10, context=1024)


class Shown(App[None]):
    def compose(self) -> ComposeResult:
        yield SidePanel()


def test_numbers_that_change_lay_nothing_out_anew_and_new_lines_have_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laid_out, lay_out = [], Screen._refresh_layout

    def noted(*words: Any, **named: Any) -> None:
        laid_out.append(named)
        lay_out(*words, **named)

    monkeypatch.setattr(Screen, "_refresh_layout", noted)

    async def script() -> None:
        async with Shown().run_test(size=(60, 40)) as pilot:
            panel = pilot.app.query_one(SidePanel)
            panel.show(VIEW)
            await pilot.pause()
            laid_out.clear()
            panel.show(replace(VIEW, used_tokens=11))
            await pilot.pause()
            assert "11 of 1,024" in str(panel.query_one("#facts").render())
            assert not laid_out
            for view in (replace(VIEW, first_token_s=1.0), replace(VIEW, model="heron " * 20)):
                panel.show(view)
                await pilot.pause()
                shown = panel.query_one("#facts")
                assert shown.region.height >= len(list(facts(view)))
                assert laid_out
                laid_out.clear()

    run(script())
