"""A program that chats: `python -m tests.apps.chat.conversations.writer FOLDER NAME [TURNS]`.

Tells on standard output, one JSON list a line, what the database has said is kept: ["said",
conversation, turn, text] for a turn that is whole, ["so far", conversation, turn, text] for the
finished sentences of an answer. Without TURNS it goes on until it is killed.
"""

import asyncio
import json
import sys
from itertools import count
from pathlib import Path

from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.conversations.draft import Draft

PIECES = ("A heron ", "is a bird.", " It", " stands. ", "It waits.\n", "It never ", "hurries")


def tell(kind: str, conversation: int, turn: int, text: str) -> None:
    print(json.dumps([kind, conversation, turn, text]), flush=True)


async def chat(folder: Path, name: str, most: int | None) -> None:
    async with await Archive.open(folder) as archive:
        conversation = (await archive.do(catalog.create, name)).id
        head = None
        for number in count() if most is None else range(most):
            text = f"{name} asks {number}"
            asked = await archive.do(turns.add_user, conversation, head, text)
            tell("said", conversation, asked.id, text)
            head = await answer(archive, conversation, asked.id)


async def answer(archive: Archive, conversation: int, question: int) -> int:
    turn = (await archive.do(turns.begin_answer, conversation, question, "m")).id
    draft = Draft(archive, turn, fail)
    whole = ""
    for piece in PIECES:
        draft.feed(piece)
        whole += piece
        await draft.settle()
        finished = max(whole.rfind(". ") + 2, whole.rfind("\n") + 1)
        tell("so far", conversation, turn, whole[:finished] if finished > 1 else "")
    await draft.finish(whole, "", "end")
    tell("said", conversation, turn, whole)
    return turn


def fail(error: Exception) -> None:
    raise error


if __name__ == "__main__":
    most = int(sys.argv[3]) if len(sys.argv) > 3 else None
    asyncio.run(chat(Path(sys.argv[1]), sys.argv[2], most))
