"""When Python looks for garbage: not while somebody waits for the start, or types."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nothing_collected() -> Iterator[None]:
    """Import without looks at what was imported before; it stays, and is passed over later."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def pass_over_what_is_open() -> None:
    """Look once, then pass over all there is now: turns last as long as their conversation."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
