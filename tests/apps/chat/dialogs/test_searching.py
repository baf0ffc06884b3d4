"""Searching while one types, also where the database does not answer."""

from pathlib import Path

import pytest

from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.archive import Archive
from edgellm.apps.chat.dialogs.searching import SearchDialog
from edgellm.errors import IntegrityError
from tests.support.dialogs import asking
from tests.support.pilots import run


async def refuse(*words: object) -> None:
    raise IntegrityError("the database is \x1b[31mdamaged")


def test_enter_takes_a_hit_of_the_words_as_they_are(tmp_path: Path) -> None:
    async def script() -> None:
        async with await Archive.open(tmp_path) as archive:
            birds = (await archive.do(catalog.create, "Birds", "", {}, "")).id
            heron = await archive.do(turns.add_user, birds, None, "a grey heron", [])
            await archive.do(turns.add_user, birds, heron.id, "a grey gull", [])
            async with asking(SearchDialog(archive, "grey")) as asked:
                await asked.until(lambda: "gull" in "".join(asked.rows[:1]))
                await asked.press(*" her", "enter")  # faster than it is searched
                await asked.until(lambda: [hit and hit.turn for hit in asked.answers] == [heron.id])

    run(script())


def test_what_the_database_says_stands_in_place_of_what_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def script() -> None:
        async with await Archive.open(tmp_path) as archive:
            birds = (await archive.do(catalog.create, "Birds", "", {}, "")).id
            said = await archive.do(turns.add_user, birds, None, "a grey heron", [])
            async with asking(SearchDialog(archive, "grey")) as asked:
                await asked.until(lambda: "heron" in "".join(asked.rows))
                with monkeypatch.context() as patch:
                    patch.setattr(Archive, "do", refuse)
                    await asked.press(*" he")
                    await asked.until(lambda: asked.rows == [r"the database is \x1b[31mdamaged"])
                    await asked.press("down", "enter")
                    assert asked.answers == []
                await asked.press(*"ro")
                await asked.until(lambda: "Birds" in "".join(asked.rows))
                await asked.press("enter")
                await asked.until(lambda: [hit and hit.turn for hit in asked.answers] == [said.id])

    run(script())
