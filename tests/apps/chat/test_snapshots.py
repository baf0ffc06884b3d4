"""What the chat looks like, compared with pictures: `pytest --snapshot-update` draws them anew.

Everything that changes by itself stands still: the clock, the machine's figures, the cursor.
"""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from syrupy.assertion import SnapshotAssertion
from syrupy.extensions.image import SVGImageSnapshotExtension

from edgellm.apps.chat import showing
from edgellm.apps.chat.answering.answer import Answer
from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.conversations.records import Attachment, Cut, Figures
from edgellm.apps.chat.widgets.machine import Machine
from edgellm.errors import RuntimeFailure
from edgellm.events import MemoryUse, PrefillProgress, ReasoningDelta, TextDelta
from edgellm.testing import FakeRuntime
from tests.support.pilots import Driver, chatting, run

SIZES = ((80, 24), (100, 30), (160, 45))
THEMES = ("textual-dark", "textual-light")
TOOK = Figures(612, 402, 57, 0.42, 2.66, 0.48)
ANSWER = """A *heron* is a long-legged bird that stands **very still** in shallow water.

1. It waits.
2. It strikes, `fast`.

| bird  | legs | patience |
|-------|-----:|----------|
| heron |    2 | endless  |
| gull  |    2 | none     |

```python
def fish(heron):
    while not heron.sees("fish"):
        heron.wait()  # as long as it takes
    return heron.strike()
```

> Patience is bitter, but its fruit is sweet.
"""
Act = Callable[[Driver], Awaitable[None]]


@pytest.fixture
def picture(snapshot: SnapshotAssertion) -> SnapshotAssertion:
    return snapshot.use_extension(SVGImageSnapshotExtension)


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(11 << 30, 16 << 30, 61.0)
    monkeypatch.setattr(showing, "look_at_machine", lambda: machine)
    monkeypatch.setenv("TZ", "UTC")


def draw(folder: Path, picture: SnapshotAssertion, act: Act, **start: Any) -> None:
    """Compare the screen after `act` with its picture."""

    async def script() -> str:
        await write_conversation(folder)
        runtime = FakeRuntime(context=1024, memory=MemoryUse(4 << 20, 2 << 20, 1 << 20, 52 << 20))
        facts = {"runtime": runtime, "resume": True, "theme": "textual-dark", **start}
        async with chatting(folder, model="heron-3b", **facts) as chat:
            chat.chat.prompt.cursor_blink = False
            await act(chat)
            await chat.until(lambda: not chat.panel.display or chat.chat.showing.machine)
            await chat.pilot.pause()
            return chat.app.export_screenshot(title="edgellm chat")

    assert run(script()) == picture


async def write_conversation(folder: Path) -> None:
    async with await Archive.open(folder) as archive:
        conversation = (await archive.do(catalog.create, "About herons", "", {}, "heron-3b")).id
        note = Attachment("notes.txt", "They wade. " * 20)
        first = await archive.do(
            turns.add_user, conversation, None, "What is a heron?\nIn short.", [note]
        )
        for thought in ("", "They ask about birds. I should be brief."):
            said = await archive.do(turns.begin_answer, conversation, first.id, "heron-3b")
            await archive.do(turns.finish_answer, said.id, ANSWER, thought, "end", TOOK)
        more = await archive.do(turns.add_user, conversation, said.id, "And an egret?")
        last = await archive.do(turns.begin_answer, conversation, more.id, "heron-3b")
        await archive.do(turns.finish_answer, last.id, "A white", "", "cancelled", TOOK)


async def nothing(chat: Driver) -> None:
    """The screen as it opens."""


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("theme", THEMES)
def test_a_conversation(
    tmp_path: Path, picture: SnapshotAssertion, size: tuple[int, int], theme: str
) -> None:
    draw(tmp_path, picture, nothing, size=size, theme=theme)


@pytest.mark.parametrize("theme", ["ansi-dark", "ansi-light"])
def test_a_conversation_in_the_terminal_s_own_colours(
    tmp_path: Path, picture: SnapshotAssertion, theme: str
) -> None:
    draw(tmp_path, picture, nothing, size=(80, 24), theme=theme)


@pytest.mark.parametrize("size", [(60, 20), (200, 50)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_conversation_in_a_narrow_and_a_wide_terminal(
    tmp_path: Path, picture: SnapshotAssertion, size: tuple[int, int]
) -> None:
    draw(tmp_path, picture, nothing, size=size)


@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_new_conversation(
    tmp_path: Path, picture: SnapshotAssertion, size: tuple[int, int]
) -> None:
    draw(tmp_path, picture, nothing, size=size, resume=False)


@pytest.mark.parametrize("phase", ["reading", "thinking", "writing"])
@pytest.mark.parametrize("size", [(80, 24), (160, 45)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_an_answer_under_way(
    tmp_path: Path, picture: SnapshotAssertion, size: tuple[int, int], phase: str
) -> None:
    async def act(chat: Driver) -> None:
        now_s = [100.0]
        answer = chat.chat.talk.answer = Answer(lambda: now_s[0])
        chat.chat.talk._idle.clear()
        answer.hear(PrefillProgress(1402, 1402, 3210))
        now_s[0] += 0.5
        answer.hear(PrefillProgress(1402, 1840, 3210))
        for _ in range(20 if phase != "reading" else 0):
            now_s[0] += 0.05
            answer.hear(TextDelta("word") if phase == "writing" else ReasoningDelta("word"))
        chat.chat.showing.refresh()
        await chat.pilot.pause()
        chat.app._clipboard = ""  # nothing else moves
        chat.chat.talk._idle.set()

    draw(tmp_path, picture, act, size=size)


@pytest.mark.parametrize(
    ("name", "keys"),
    [
        ("help", ["f1"]),
        ("selected", ["alt+up", "alt+up"]),
        ("editing", ["f4"]),
        ("commands", ["/", "r", "e"]),
        ("settings", ["f6"]),
        ("presets", [*"/preset", "enter"]),
        ("panel", ["f2"]),
        ("deleting", [*"/delete", "enter"]),
        ("unfolded", ["alt+up", "alt+up", "alt+up", "space"]),
    ],
)
def test_what_keys_bring(
    tmp_path: Path, picture: SnapshotAssertion, name: str, keys: list[str]
) -> None:
    async def act(chat: Driver) -> None:
        await chat.press(*keys)
        await chat.settle()

    draw(tmp_path, picture, act, size=(80, 24))


def test_a_cut_with_its_summary(tmp_path: Path, picture: SnapshotAssertion) -> None:
    async def act(chat: Driver) -> None:
        path = chat.chat.desk.conversation.path()
        await chat.chat.desk.cut(Cut(path[1].id, "They spoke of **herons**."))
        chat.chat.show_conversation()

    draw(tmp_path, picture, act, size=(100, 30))


def test_a_model_that_does_not_load(tmp_path: Path, picture: SnapshotAssertion) -> None:
    runtime = FakeRuntime(load_error=RuntimeFailure("llama.cpp", "the file ends early"))
    draw(tmp_path, picture, nothing, size=(80, 24), runtime=runtime)
