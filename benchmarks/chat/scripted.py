"""A chat on a scripted engine, to be started as a program: `python -m benchmarks.chat.scripted`.

Its argument is the folder of its conversations. With a file descriptor in ACKNOWLEDGE it writes
there, a line of JSON each, what it takes for kept: turns that were stored, and how many
characters of an answer stand on the screen in sentences that another one follows.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from edgellm.apps.chat.conversations.records import Turn
from edgellm.apps.chat.launch import run_chat
from edgellm.apps.chat.start import Start
from edgellm.testing import FakeRuntime

TOKENS_PER_S = 100
SENTENCE = "Then one of them said a word, and it was good. "


def acknowledge(file: int, **facts: object) -> None:
    os.write(file, json.dumps(facts).encode() + b"\n")


def listen(file: int) -> None:
    """Tell of every turn as soon as the chat takes it for kept, and of sentences it shows."""
    from edgellm.apps.chat.desk import Desk
    from edgellm.apps.chat.transcript.turns import TurnItem

    add_user, ended, append = Desk.add_user, Desk.ended, TurnItem.append

    async def added(desk: Desk, *words: Any, **named: Any) -> Turn:
        turn = await add_user(desk, *words, **named)
        acknowledge(file, turn=turn.id, content=turn.content)
        return turn

    def answered(desk: Desk, *words: Any) -> Turn:
        turn = ended(desk, *words)
        acknowledge(file, turn=turn.id, content=turn.content)
        return turn

    def appended(item: TurnItem, text: str, thoughts: str = "") -> None:
        append(item, text, thoughts)
        whole = len(item.text.rstrip()) // len(SENTENCE) * len(SENTENCE)  # something follows it
        acknowledge(file, draft=item.key, characters=max(whole - 1, 0))

    Desk.add_user = added  # type: ignore[method-assign, assignment]
    Desk.ended = answered  # type: ignore[method-assign, assignment]
    TurnItem.append = appended  # type: ignore[method-assign, assignment]


def main() -> None:
    folder = Path(sys.argv[1])
    if number := os.environ.get("ACKNOWLEDGE"):
        listen(int(number))
    runtime = FakeRuntime(answer=[SENTENCE * 5_000], context=10_000_000, decode_s=1 / TOKENS_PER_S)
    load: Any = {"runtime": runtime, "isolation": "none"}
    run_chat(Start(folder, "scripted", load, resume=True, theme="textual-dark"))


if __name__ == "__main__":
    main()
