"""What becomes of work beside the screen that fails."""

import asyncio
from pathlib import Path

import pytest
from textual.drivers.headless_driver import HeadlessDriver

from edgellm.apps.chat import launch
from edgellm.apps.chat.commands import models
from edgellm.apps.chat.start import Start
from edgellm.errors import RuntimeFailure
from tests.support.pilots import chatting, run


async def broken(*words: object) -> None:
    """A defect of ours."""
    raise ZeroDivisionError("no share of nothing")


def test_what_fails_as_the_app_ends_is_passed_over(tmp_path: Path) -> None:
    failed = []

    async def late() -> None:
        try:
            await asyncio.Event().wait()
        finally:  # there is nothing to draw on any more
            failed.append(1)
            await broken()

    async def script() -> None:
        async with chatting(tmp_path) as chat:
            chat.app.run_worker(late())
            await chat.pilot.pause()
            await chat.leave()
        assert failed
        assert chat.app.crash is None

    run(script())


def test_a_defect_in_work_beside_the_screen_ends_the_app_as_itself(tmp_path: Path) -> None:
    async def script() -> None:
        async with chatting(tmp_path) as chat:
            chat.chat.run_worker(broken())
            await chat.until(lambda: not chat.app.is_running)

    with pytest.raises(ZeroDivisionError, match="no share of nothing"):
        run(script())


def test_a_defect_is_one_line_and_a_file_says_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEXTUAL_DRIVER", "there is one")  # no terminal is asked for
    monkeypatch.setattr(launch, "guarded_driver", lambda guard: HeadlessDriver)
    monkeypatch.setattr(models, "load_first", broken)
    with pytest.raises(RuntimeFailure) as failure:
        launch.run_chat(Start(tmp_path))
    log = tmp_path / launch.CRASH_LOG
    assert "ended by a defect: ZeroDivisionError: no share of nothing" in str(failure.value)
    assert str(log) in str(failure.value)
    assert "in broken" in log.read_text(encoding="utf-8")
