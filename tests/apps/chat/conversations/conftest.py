"""A database that is closed at the end of a test."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from edgellm.apps.chat.conversations import catalog, turns
from edgellm.apps.chat.conversations.database import Database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where conversations are kept; not there yet."""
    return tmp_path / "chats"


@pytest.fixture
def database(folder: Path) -> Iterator[Database]:
    with Database(folder) as database:
        yield database


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For tests that run many times; a new database for each would be slow."""
    return tmp_path_factory.mktemp("shared") / "chats"


@pytest.fixture(scope="module")
def shared(shared_folder: Path) -> Iterator[Database]:
    with Database(shared_folder) as database:
        yield database


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock that shows another millisecond each time it is looked at."""
    clock = count(1)
    for module in (catalog, turns):
        monkeypatch.setattr(module, "now_ms", lambda: next(clock))
