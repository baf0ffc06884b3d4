"""The models that were used last."""

from pathlib import Path

from edgellm.apps.chat.choosing.recent import MOST, RECENT_MODELS, list_recent, note_recent
from edgellm.apps.chat.conversations import remembered
from edgellm.apps.chat.conversations.database import Database


def test_the_newest_stand_first_and_each_once(tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        for name in ("a", "b", "é", "a"):
            note_recent(database, name)
        assert list_recent(database) == ["a", "é", "b"]


def test_only_so_many_are_kept(tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        for number in range(MOST + 3):
            note_recent(database, str(number))
        kept = list_recent(database)
    assert kept == [str(number) for number in range(MOST + 2, 2, -1)]


def test_what_is_no_list_of_names_is_passed_over(tmp_path: Path) -> None:
    with Database(tmp_path) as database:
        for broken in ("[", '{"a": 1}', '[1, null, "", "good"]'):
            remembered.remember(database, RECENT_MODELS, broken)
            note_recent(database, "new")
            assert list_recent(database)[0] == "new"
        assert list_recent(database) == ["new", "good"]
