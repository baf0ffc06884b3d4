"""A chat on a scripted engine, to be started as a program: `python -m benchmarks.chat.scripted`.

Its argument is the folder of its conversations. With a file descriptor in ACKNOWLEDGE it writes
there, a line of JSON each, what it takes for kept: turns that were stored, and sentences that were
heard to their end.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from edgellm.apps.chat.conversations.records import Turn
from edgellm.apps.chat.launch import run_chat
from edgellm.apps.chat.start import Start
from edgellm.testing import FakeRuntime

TOKENS_PER_S = 100
SENTENCE = "Then one of them said a word, and it was good. "


def acknowledge(file: int, **facts: object) -> None:
    os.write(file, json.dumps({**facts, "at_s": time.monotonic()}).encode() + b"\n")


def listen(file: int) -> None:
    """Tell of every turn as soon as the chat takes it for kept, and of every sentence it hears."""
    from edgellm.apps.chat.conversations.draft import Draft
    from edgellm.apps.chat.desk import Desk

    add_user, ended, feed = Desk.add_user, Desk.ended, Draft.feed
    heard: dict[int, str] = {}  # of each answer

    async def added(desk: Desk, *words: Any, **named: Any) -> Turn:
        turn = await add_user(desk, *words, **named)
        acknowledge(file, turn=turn.id, content=turn.content)
        return turn

    def answered(desk: Desk, *words: Any) -> Turn:
        turn = ended(desk, *words)
        acknowledge(file, turn=turn.id, content=turn.content)
        return turn

    def fed(draft: Draft, text: str, reasoning: str = "") -> None:
        feed(draft, text, reasoning)
        said = heard[draft._turn] = heard.get(draft._turn, "") + text
        if said.endswith(" "):  # the fake engine's words begin with their space
            said = said.rstrip()
        if said.endswith(SENTENCE.strip()):
            acknowledge(file, draft=draft._turn, characters=len(said))

    Desk.add_user = added  # type: ignore[method-assign, assignment]
    Desk.ended = answered  # type: ignore[method-assign, assignment]
    Draft.feed = fed  # type: ignore[method-assign, assignment]


def main() -> None:
    folder = Path(sys.argv[1])
    if number := os.environ.get("ACKNOWLEDGE"):
        listen(int(number))
    runtime = FakeRuntime(answer=[SENTENCE * 5_000], context=10_000_000, decode_s=1 / TOKENS_PER_S)
    load: Any = {"runtime": runtime, "isolation": "none"}
    run_chat(Start(folder, "scripted", load, resume=True, theme="textual-dark"))


if __name__ == "__main__":
    main()
