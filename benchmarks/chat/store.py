"""What keeping conversations costs: `python -m benchmarks.chat.store`.

50 conversations of 2,000 turns of English text, 100,000 turns in all, then: opening, saving,
searching, deleting. A save ends when its bytes are on the disk, so the disk decides about it:
`bare_sync_ms` is one page written and synced without a database.
"""

import json
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.report import ROOT, write_result
from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.conversation import Conversation
from edgellm.apps.chat.conversations.database import NAME, Database
from edgellm.apps.chat.conversations.loading import load
from edgellm.apps.chat.conversations.records import Figures, Turn
from edgellm.apps.chat.conversations.search import search
from edgellm.files import sync_file

CONVERSATIONS = 50
TURNS = 2_000  # of each
CHARACTERS = (40, 1_200)  # of a turn
ROUNDS = 21
SAVES = 200
NEEDLE = "zyzzyva"  # said in one turn only
QUERIES = {
    "one_turn": NEEDLE,
    "many_turns": "which",
    "no_turn": "qqxzj",
    "two_letters_of_many_turns": "qu",
    "two_letters_of_no_turn": "qj",  # which the index cannot tell
}
FIGURES = Figures(1000, 900, 200, 0.5, 10.0, 0.6)


def milliseconds(action: Callable[[], object], rounds: int) -> list[float]:
    """Of each round, sorted."""
    taken = []
    for _ in range(rounds):
        began = time.perf_counter()
        action()
        taken.append(1000 * (time.perf_counter() - began))
    return sorted(taken)


def median_ms(action: Callable[[], object], rounds: int = ROUNDS) -> float:
    return round(statistics.median(milliseconds(action, rounds)), 2)


def text_source(chance: random.Random) -> Callable[[], str]:
    """Pieces of the calibration text, from anywhere in it."""
    text = (ROOT / "edgellm" / "data" / "calibration.txt").read_text(encoding="utf-8")

    def piece() -> str:
        at = chance.randrange(len(text) - CHARACTERS[1])
        return text[at : at + chance.randint(*CHARACTERS)]

    return piece


def conversation(piece: Callable[[], str]) -> Conversation:
    said = {}
    for number in range(1, TURNS + 1):
        is_user = number % 2 == 1
        said[number] = Turn(
            number,
            number - 1 or None,
            "user" if is_user else "assistant",
            piece(),
            ending="" if is_user else "end",
            figures=None if is_user else FIGURES,
            created_ms=number,
        )
    return Conversation(0, "", "A conversation", head=TURNS, turns=said)


def fill(database: Database, piece: Callable[[], str]) -> dict[str, Any]:
    began = time.perf_counter()
    for _ in range(CONVERSATIONS):
        catalog.add(database, conversation(piece))
    needle = catalog.create(database, "Needle").id
    turns.add_user(database, needle, None, f"What is a {NEEDLE}?")
    taken_s = time.perf_counter() - began
    text = "SELECT count(*), sum(length(CAST(content AS BLOB))) FROM turns"
    ((count, text_bytes),) = database.rows((int, int), text)
    return {"turns": count, "text_bytes": text_bytes, "fill_s": round(taken_s, 1)}


def save(database: Database, piece: Callable[[], str]) -> dict[str, Any]:
    """Adding turns, and sentences of one answer, to a conversation of 2,000 turns."""
    head = load(database, 1).head
    added = milliseconds(lambda: turns.add_user(database, 1, head, piece()), SAVES)
    assert head is not None
    answer = turns.begin_answer(database, 1, head, "m").id
    sentence = "It is a sentence of some eighty characters, as they are on average in English. "
    saved = milliseconds(lambda: turns.append_piece(database, answer, sentence), SAVES)
    whole = SAVES * sentence
    began = time.perf_counter()
    turns.finish_answer(database, answer, whole, "", "end", FIGURES)
    ended_ms = 1000 * (time.perf_counter() - began)
    return {
        "turn_ms": round(statistics.median(added), 2),
        "turn_p95_ms": round(added[SAVES * 95 // 100], 2),
        "sentence_ms": round(statistics.median(saved), 2),
        "sentence_p95_ms": round(saved[SAVES * 95 // 100], 2),
        "end_of_a_long_answer_ms": round(ended_ms, 2),
    }


def bare_sync_ms(file: Path) -> float:
    """What the disk takes for one page."""
    with file.open("wb", buffering=0) as page:

        def write() -> None:
            page.write(bytes(4096))
            sync_file(page)

        return median_ms(write, SAVES)


def measure(folder: Path) -> dict[str, Any]:
    piece = text_source(random.Random(0))
    with Database(folder) as database:
        figures = fill(database, piece)
    figures["database_bytes"] = (folder / NAME).stat().st_size
    figures["open_database_ms"] = median_ms(lambda: Database(folder).close())
    with Database(folder) as database:
        figures["open_conversation_ms"] = median_ms(lambda: load(database, 7))
        loaded = load(database, 7)
        figures["walk_path_ms"] = median_ms(loaded.path)
        figures["list_50_ms"] = median_ms(lambda: catalog.list_newest(database, 50))
        figures["search_ms"] = {
            name: median_ms(partial(search, database, query)) for name, query in QUERIES.items()
        }
        figures["found"] = {name: len(search(database, query)) for name, query in QUERIES.items()}
        figures["save"] = save(database, piece)
        figures["save"]["bare_sync_ms"] = bare_sync_ms(folder / "page")
        figures["delete_ms"] = median_ms(lambda: catalog.delete(database, 7), 1)
    return figures


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(Path(folder) / "chats")
    print(json.dumps(figures, indent=1))
    print(write_result("chat_store", figures))


if __name__ == "__main__":
    main()
