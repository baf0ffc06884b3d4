"""Several programs at one database, and programs that are killed while they write."""

import json
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from edgellm.apps.chat.conversations.database import NAME, Database
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import UNFINISHED
from edgellm.apps.chat.conversations.search import search
from tests.apps.chat.conversations.writer import PIECES

ROOT = Path(__file__).parents[4]
KILLS = 10
ANSWER = "".join(PIECES)
Kept = list[tuple[str, int, int, str]]  # kind, conversation, turn, text


def start(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.apps.chat.conversations.writer", str(folder)]
    return subprocess.Popen(
        [*command, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        encoding="utf-8",
    )


def told(lines: list[str]) -> Kept:
    """What a writer has said is kept; a kill may cut its last line."""
    return [tuple(json.loads(line)) for line in lines if line.endswith("]\n")]


def check_integrity(folder: Path) -> None:
    connection = sqlite3.connect(folder / NAME)
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    connection.execute("INSERT INTO search (search) VALUES ('integrity-check')")
    connection.close()


def check_kept(database: Database, kept: Kept) -> None:
    """Everything that was told is there, and of an answer no more than was said."""
    loaded = {
        name: load(database, name) for name in {conversation for _, conversation, _, _ in kept}
    }
    for kind, conversation, number, text in kept:
        turn = loaded[conversation].turns[number]
        if kind == "said":
            assert turn.content == text
            assert turn.ending in ("", "end")
        else:
            assert turn.content.startswith(text)
            assert ANSWER.startswith(turn.content)
    for tree in loaded.values():
        assert [turn.id for turn in tree.path()] == sorted(tree.turns)


@pytest.mark.skipif(sys.platform == "win32", reason="kills by a signal")
def test_a_killed_program_loses_nothing_that_was_kept(folder: Path) -> None:
    chance = random.Random(5)
    kept: Kept = []
    for kill in range(KILLS):
        with start(folder, f"writer {kill}") as writer:
            assert writer.stdout is not None
            lines = [writer.stdout.readline() for _ in range(chance.randrange(1, 40))]
            writer.kill()
            kept += told([*lines, *writer.stdout])
        check_integrity(folder)
        with Database(folder) as database:
            check_kept(database, kept)
            newest = load(database, kill + 1)
            unfinished = [turn for turn in newest.turns.values() if turn.ending == UNFINISHED]
            assert len(unfinished) <= 1
            for turn in unfinished:
                found = {hit.turn for hit in search(database, "heron", 10_000)}
                assert (turn.id in found) == ("heron" in turn.content)
    assert len(kept) > KILLS


def test_two_programs_at_once_lose_nothing(folder: Path) -> None:
    writers = [start(folder, f"writer {number}", "40") for number in range(2)]
    kept: Kept = []
    for writer in writers:
        out, _ = writer.communicate(timeout=60)
        assert writer.returncode == 0
        kept += told(out.splitlines(keepends=True))
    check_integrity(folder)
    with Database(folder) as database:
        check_kept(database, kept)
        assert len({conversation for _, conversation, _, _ in kept}) == 2
        assert len([entry for entry in kept if entry[0] == "said"]) == 160
        assert len(search(database, "never hurries", 1000)) == 80


def test_a_reader_sees_an_answer_grow_and_its_end_take_the_place_of_the_pieces(
    folder: Path,
) -> None:
    seen: dict[int, list[str]] = {}
    with start(folder, "writer", "12") as writer:
        assert writer.stdout is not None
        for line in writer.stdout:
            conversation = json.loads(line)[1]
            with Database(folder) as database:
                for turn in load(database, conversation).turns.values():
                    seen.setdefault(turn.id, []).append(turn.content)
    assert writer.returncode == 0
    for contents in seen.values():
        assert contents == sorted(contents, key=len)
        assert all(contents[-1].startswith(content) for content in contents)
    with Database(folder) as database:
        final = load(database, 1)
    assert {turn.content for turn in final.turns.values() if turn.role == "assistant"} == {ANSWER}
