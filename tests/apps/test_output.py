"""What a person at a terminal is shown while something takes long."""

from contextlib import ExitStack
from unittest.mock import MagicMock

import pytest

from edgellm.apps.cli.output import TerminalProgress
from edgellm.progress import Progress


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> MagicMock:
    drawn = MagicMock()
    drawn.__enter__.return_value = drawn
    monkeypatch.setattr("edgellm.apps.cli.output._byte_bars", lambda: drawn)
    return drawn


def test_no_bar_is_drawn_for_what_is_done_when_first_heard_of(bars: MagicMock) -> None:
    with ExitStack() as stack:
        TerminalProgress(stack)(Progress("verify", 5, 5, "model.gguf"))
    assert bars.mock_calls == []


def test_a_bar_stays_from_the_first_wait_to_the_end(bars: MagicMock) -> None:
    with ExitStack() as stack:
        show = TerminalProgress(stack)
        show(Progress("verify", 2, 5, "model.gguf"))
        show(Progress("verify", 5, 5, "model.gguf"))
        assert not bars.__exit__.called
    bars.add_task.assert_called_once_with("verify", total=5)
    assert [call.kwargs["completed"] for call in bars.update.call_args_list] == [2, 5]
    assert bars.__exit__.called
