"""What one append to an answer costs on the screen: `python -m benchmarks.chat.rendering`.

An answer of 10, 100 and 1,000 lines stands below 20 earlier ones, and twelve characters come at its
end, which is followed. CPU time from the append until the paint is done, of 60 appends: in our
transcript, and in Textual's own Markdown widgets within a VerticalScroll, with its `append` and
`anchor`. Everything is drawn and turned into escape sequences; only the terminal is missing.
"""

import asyncio
import gc
import json
import statistics
import time
from abc import abstractmethod
from collections.abc import Awaitable, Callable
from typing import Any

from textual.app import App, ComposeResult
from textual.containers import VerticalScroll
from textual.drivers.headless_driver import HeadlessDriver
from textual.widgets import Markdown

from benchmarks.report import write_result
from edgellm.apps.chat.transcript.turns import Heading, TurnItem
from edgellm.apps.chat.transcript.view import Transcript

SIZE = (100, 30)
EARLIER = 20
LINES = (10, 100, 1000)
APPENDS = 60
PIECE_CHARACTERS = 12
SECTION = """## What a heron does

A *heron* is a long-legged bird that stands **very still** in shallow water, and `waits` there.

1. It waits.
2. It strikes, [fast](http://herons.example/strike).
   - with its bill
   - and seldom in vain

| bird  | legs | patience |
|-------|-----:|----------|
| heron |    2 | endless  |
| gull  |    2 | none     |

```python
def fish(heron, water):
    while not heron.sees("fish"):
        heron.wait()  # as long as it takes
    return heron.strike(water)
```

> Patience is bitter, but its fruit is sweet.

"""


class CountingDriver(HeadlessDriver):
    """Takes what a terminal would, and counts it."""

    written = 0

    @property
    def is_headless(self) -> bool:
        return False

    def write(self, data: str) -> None:
        self.written += len(data)


def text_of(lines: int) -> str:
    """An answer of so many lines of Markdown."""
    section = SECTION.splitlines(keepends=True)
    return "".join(section[number % len(section)] for number in range(lines))


class Measured(App[dict[str, float]]):
    """Appends to an answer below others; ends with what that cost."""

    def __init__(self, lines: int) -> None:
        super().__init__(driver_class=CountingDriver)
        self.earlier = [text_of(len(SECTION.splitlines()))] * EARLIER
        self.answer = text_of(lines)

    @abstractmethod
    async def append(self, text: str) -> None:
        """To the last answer."""

    def on_mount(self) -> None:
        self.call_after_refresh(lambda: self.run_worker(self._measure()))

    async def _measure(self) -> None:
        await self._painted()
        rest, samples = "".join(text_of(2 * APPENDS)), list[float]()
        driver = self._driver
        assert isinstance(driver, CountingDriver)
        gc.collect()
        written = driver.written
        for start in range(0, APPENDS * PIECE_CHARACTERS, PIECE_CHARACTERS):
            began_s = time.process_time()
            await self.append(rest[start : start + PIECE_CHARACTERS])
            await self._painted()
            samples.append(1000 * (time.process_time() - began_s))
        characters = (driver.written - written) / APPENDS
        self.exit({**figures(samples), "written_characters": round(characters)})

    async def _painted(self) -> None:
        """Until a paint is done, and the one that it brought about."""
        for _ in range(2):
            done = asyncio.Event()
            self.screen.call_after_refresh(done.set)
            await done.wait()


class Ours(Measured):
    CSS = "Transcript { height: 1fr; }"

    def compose(self) -> ComposeResult:
        yield Transcript()

    def on_mount(self) -> None:
        texts = [*self.earlier, self.answer]
        items = [TurnItem(key, "assistant", Heading("a"), text) for key, text in enumerate(texts)]
        self.live = items[-1]
        self.query_one(Transcript).show(items)
        super().on_mount()

    async def append(self, text: str) -> None:
        self.live.append(text)
        self.query_one(Transcript).changed(self.live.key)


class Theirs(Measured):
    def compose(self) -> ComposeResult:
        with VerticalScroll():
            for text in self.earlier:
                yield Markdown(text)
            yield Markdown(self.answer, id="live")

    def on_mount(self) -> None:
        self.query_one(VerticalScroll).anchor()
        super().on_mount()

    async def append(self, text: str) -> None:
        await self.query_one("#live", Markdown).append(text)


def figures(samples: list[float]) -> dict[str, float]:
    ordered = sorted(samples)
    return {
        "median_cpu_ms": round(statistics.median(ordered), 2),
        "p95_cpu_ms": round(ordered[int(0.95 * len(ordered))], 2),
    }


def measure(kind: Callable[[int], Measured], lines: int) -> dict[str, float]:
    work: Awaitable[Any] = kind(lines).run_async(size=SIZE, mouse=False)
    found = asyncio.run(asyncio.wait_for(work, 600))
    assert found is not None, "the app measured"
    return dict(found)


def main() -> None:
    found: dict[str, Any] = {"earlier_answers": EARLIER, "piece_characters": PIECE_CHARACTERS}
    for lines in LINES:
        ours, theirs = measure(Ours, lines), measure(Theirs, lines)
        ratio = theirs["median_cpu_ms"] / ours["median_cpu_ms"]
        found[f"{lines}_lines"] = {"transcript": ours, "markdown": theirs, "ratio": round(ratio, 1)}
    print(json.dumps(found, indent=1))
    print(write_result("chat_rendering", found))


if __name__ == "__main__":
    main()
