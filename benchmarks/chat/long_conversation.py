"""A conversation of 2,000 turns: `python -m benchmarks.chat.long_conversation`.

Opened in the real app on a scripted engine that then answers at 100 tokens a second, twice over:

- by Textual's pilot, without a terminal: the time from opening the conversation to its paint, and
  from a key to the paint that shows it, while the answer streams and keys come every 40 to 160 ms;
- as a program in a terminal of its own, which also measures reading the key and writing the paint;
  its memory is that of the whole process, the scripted engine included.

For comparison the same keys in an empty conversation while nothing is answered.
"""

import asyncio
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from textual.events import Key
from textual.strip import Strip

from benchmarks.chat.screens import Screen
from benchmarks.report import write_result
from edgellm.apps.chat.app import ChatApp
from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.database import Database
from edgellm.apps.chat.screen import ChatScreen
from edgellm.apps.chat.start import Start
from edgellm.apps.chat.widgets.prompt import Prompt
from edgellm.testing import FakeRuntime

TURNS, KEYS = 2000, 200
SIZES = ((100, 30), (160, 45))
WARM_UP_S = 1.0
LINE = 40  # characters after which the prompt is emptied
ANSWER = """Herons stand **very still** in shallow water, and wait.

- They are patient.
- They are `fast`.

```python
def fish(heron):
    return heron.strike()
```

| bird | legs |
|------|------|
| heron | 2 |
"""
STREAMED = (
    ANSWER + "\nThen one of them said a word, and it was good, and they went on.\n\n"
) * 2000


def write_long(database: Database) -> None:
    """A conversation of TURNS turns, questions and answers."""
    conversation, parent = catalog.create(database, "long").id, None
    for number in range(TURNS // 2):
        asked = turns.add_user(database, conversation, parent, f"Question {number}, about herons?")
        said = turns.begin_answer(database, conversation, asked.id, "scripted")
        turns.finish_answer(database, said.id, ANSWER, "", "end")
        parent = said.id


def app_for(folder: Path) -> ChatApp:
    runtime = FakeRuntime(answer=[STREAMED], context=10_000_000, decode_s=0.01)
    load: Any = {"runtime": runtime, "isolation": "none"}
    return ChatApp(Start(folder, "scripted", load, theme="textual-dark"))


async def by_pilot(folder: Path, size: tuple[int, int], *, long: bool) -> dict[str, Any]:
    app = app_for(folder)
    async with app.run_test(size=size) as pilot:
        while not (isinstance(app.screen, ChatScreen) and app.engine.is_ready):
            await pilot.pause(0.01)
        chat = app.screen
        watch = Watch(app, chat.prompt)
        figures: dict[str, Any] = {}
        if long:
            began_s = time.perf_counter()
            await chat.desk.open(1)
            chat.show_conversation()
            await watch.next()
            figures["open_ms"] = round(1000 * (time.perf_counter() - began_s), 1)
            chat.prompt.insert("Go on")
            chat.prompt.action_send()
            await pilot.pause(WARM_UP_S)
            assert chat.talk.is_busy
        delays = [await _echo_s(app, chat.prompt, watch) for _ in range(KEYS)]
        if long:
            assert chat.talk.is_busy
            assert chat.talk.answer is not None
            figures["tokens_per_s"] = round(chat.talk.answer.tokens / chat.talk.answer.elapsed_s)
            await chat.talk.stopped()
    return figures | _delays(delays)


class Watch:
    """Sees what is painted: when, and how much of the prompt's text it shows."""

    def __init__(self, app: ChatApp, prompt: Prompt) -> None:
        self._painted = asyncio.Event()
        self._drawn = 0  # characters of the prompt that its lines were last made of
        self.shown = 0  # of those, what has been painted
        display, render_line = app._display, prompt.render_line

        def displayed(*update: Any) -> None:
            display(*update)
            self.shown = self._drawn
            self._painted.set()

        def rendered(y: int) -> Strip:
            self._drawn = len(prompt.text)
            return render_line(y)

        app._display = displayed  # type: ignore[method-assign, assignment]
        prompt.render_line = rendered  # type: ignore[method-assign]

    async def next(self) -> None:
        """Wait for the next paint."""
        self._painted.clear()
        await asyncio.wait_for(self._painted.wait(), 60)


async def _echo_s(app: ChatApp, prompt: Prompt, watch: Watch) -> float:
    """Press a key at a random moment; the time until a paint shows it."""
    if len(prompt.text) > LINE:
        prompt.clear()
        await watch.next()
    await asyncio.sleep(random.uniform(0.04, 0.16))
    wanted, began_s = len(prompt.text) + 1, time.perf_counter()
    app.post_message(Key("q", "q"))
    while watch.shown < wanted:
        await watch.next()
    return time.perf_counter() - began_s


def _delays(delays: Sequence[float]) -> dict[str, float]:
    ordered = sorted(1000 * delay for delay in delays)
    return {
        "key_to_echo_ms_median": round(statistics.median(ordered), 1),
        "key_to_echo_ms_p95": round(ordered[int(0.95 * len(ordered))], 1),
        "key_to_echo_ms_slowest": round(ordered[-1], 1),
    }


def in_terminal(folder: Path, size: tuple[int, int]) -> dict[str, Any]:
    """The same as a program; a key has echoed when the terminal gets it."""
    command = [sys.executable, "-m", "benchmarks.chat.scripted", str(folder)]
    with Screen(command, {}, columns=size[0], rows=size[1]) as screen:
        screen.wait_for(b"rite here")
        screen.wait_for(b"ctx ")
        screen.press("Go on\r")
        screen.wait_for(b"writing")
        time.sleep(WARM_UP_S)
        delays = [_echo_in_terminal_s(screen, "QXZJ"[number % 4]) for number in range(KEYS)]
        memory = psutil.Process(screen.process.pid).memory_info().rss
    return {**_delays(delays), "resident_mib": round(memory / 2**20, 1)}


def _echo_in_terminal_s(screen: Screen, key: str) -> float:
    """The answer has none of these capitals."""
    until_s = time.perf_counter() + random.uniform(0.04, 0.16)
    while (left_s := until_s - time.perf_counter()) > 0:
        screen.read(left_s)
    seen, began_s = len(screen.drawn), time.perf_counter()
    screen.press(key)
    while key.encode() not in screen.drawn[seen:]:
        screen.read(1.0)
    return time.perf_counter() - began_s


def main() -> None:
    random.seed(2)
    figures: dict[str, Any] = {"turns": TURNS, "keys": KEYS}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Database(folder) as database:
            write_long(database)
        for size in SIZES:
            label = f"{size[0]}x{size[1]}"
            figures[f"pilot_{label}"] = asyncio.run(by_pilot(folder, size, long=True))
            figures[f"terminal_{label}"] = in_terminal(folder, size)
        with tempfile.TemporaryDirectory() as empty:
            figures["pilot_idle"] = asyncio.run(by_pilot(Path(empty), SIZES[0], long=False))
    for name, value in figures.items():
        print(f"{name}: {value}")
    print(write_result("chat_long_conversation", figures))


if __name__ == "__main__":
    main()
