"""When Python looks for garbage."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from edgellm.apps.chat.collecting import nothing_collected, pass_over_what_is_open


class Node:
    """Knows itself, so that only the collector can free it."""

    def __init__(self) -> None:
        self.me = self


@pytest.fixture(autouse=True)
def thawed() -> Iterator[None]:
    yield
    gc.unfreeze()


@nothing_collected()
def fail() -> None:
    raise KeyError(gc.isenabled())


def test_nothing_is_collected_meanwhile_whatever_happens() -> None:
    with pytest.raises(KeyError, match="False"):
        fail()
    assert gc.isenabled()
    assert gc.get_freeze_count()


def test_what_is_open_is_passed_over_and_what_was_closed_is_freed_the_next_time() -> None:
    node = Node()
    gone = weakref.ref(node)
    pass_over_what_is_open()
    del node
    gc.collect()
    assert gone() is not None  # it was passed over
    pass_over_what_is_open()
    assert gone() is None
