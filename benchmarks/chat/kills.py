"""Kills the chat at random moments: `python -m benchmarks.chat.kills`.

100 times the app is started in a terminal on the same conversations, asks, is answered at 100
tokens a second, stops answers and asks again, until SIGKILL comes at a random moment. Then the
database must pass SQLite's integrity_check and hold every turn that the app had taken for kept, as
it was. Of the answer that was being written, no sentence that stood on the screen with another
one behind it may be missing.
"""

import argparse
import json
import os
import random
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chat.screens import Screen
from benchmarks.report import write_result
from edgellm.apps.chat.conversations import catalog
from edgellm.apps.chat.conversations.database import NAME, Database
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import Turn

ROUNDS = 100
LONGEST_S = 4.0  # from the first paint to the kill
ESCAPE_S = 0.2  # after Esc: with the next key at once it would be Alt with that


@dataclass
class Acknowledged:
    """What the app has taken for kept, over all its lives."""

    turns: dict[int, str] = field(default_factory=dict)  # contents
    shown: dict[int, int] = field(default_factory=dict)  # characters of finished sentences

    def read(self, lines: bytes) -> None:
        for line in lines.splitlines():
            facts = json.loads(line)
            if "draft" in facts:
                self.shown[facts["draft"]] = facts["characters"]
            else:
                self.turns[facts["turn"]] = facts["content"]


def one_life(folder: Path, known: Acknowledged) -> None:
    """Chat until the kill."""
    source, target = os.pipe()
    command = [sys.executable, "-m", "benchmarks.chat.scripted", str(folder)]
    with Screen(command, {"ACKNOWLEDGE": str(target)}, passed=[target]) as screen:
        os.close(target)
        screen.wait_for(b"rite here")
        screen.wait_for(b"ctx ")
        end_s = time.perf_counter() + random.uniform(0.0, LONGEST_S)
        while time.perf_counter() < end_s:
            screen.press("\x1b")
            watch(screen, min(time.perf_counter() + ESCAPE_S, end_s))
            screen.press(f"Question {random.random()}\r")
            watch(screen, min(time.perf_counter() + random.uniform(0.05, 1.5), end_s))
        screen.kill()
    with os.fdopen(source, "rb") as told:
        known.read(told.read())


def watch(screen: Screen, until_s: float) -> None:
    """Let it draw until then."""
    while (left_s := until_s - time.perf_counter()) > 0:
        screen.read(left_s)


def check(folder: Path, known: Acknowledged) -> dict[int, Turn]:
    """Every turn that is kept; ends the program where something acknowledged is not."""
    with closing(sqlite3.connect(folder / NAME)) as connection:
        (found,) = connection.execute("PRAGMA integrity_check").fetchone()
    if found != "ok":
        sys.exit(f"integrity_check: {found}")
    with Database(folder) as database:
        listed = catalog.list_newest(database, 10_000)
        kept = {k: v for one in listed for k, v in load(database, one.id).turns.items()}
    for turn, content in known.turns.items():
        if turn not in kept or kept[turn].content != content:
            sys.exit(f"turn {turn} was acknowledged and is not kept as it was")
    return kept


def check_shown(known: Acknowledged, kept: dict[int, Turn]) -> bool:
    """Whether an answer was cut off; ends the program where a shown sentence of it is missing."""
    cut_off = {turn: most for turn, most in known.shown.items() if turn not in known.turns}
    for turn, characters in cut_off.items():
        if turn in kept and len(kept[turn].content) < characters:
            missing = characters - len(kept[turn].content)
            sys.exit(f"turn {turn}: {missing} characters of finished sentences are not kept")
    return bool(cut_off)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    rounds = parser.parse_args().rounds
    random.seed(3)
    known, interrupted = Acknowledged(), 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number in range(rounds):
            known.shown.clear()
            one_life(folder, known)
            kept = check(folder, known)
            interrupted += check_shown(known, kept)
            print(f"{number + 1}: {len(kept)} turns kept", flush=True)
    figures: dict[str, Any] = {
        "kills": rounds,
        "kills_during_an_answer": interrupted,
        "acknowledged_turns": len(known.turns),
        "acknowledged_turns_lost": 0,
        "finished_sentences_lost": 0,
    }
    print(write_result("chat_kills", figures))


if __name__ == "__main__":
    main()
