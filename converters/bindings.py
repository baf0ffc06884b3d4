"""llama-cpp-python's low-level module, imported without the package around it; its log."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import llama_cpp.llama_cpp as llama
else:
    from edgellm.lone_import import import_alone

    llama = import_alone("llama_cpp.llama_cpp")

__all__ = ["llama", "log_to"]


@contextmanager
def log_to(receive: Callable[[int, str], None]) -> Iterator[None]:
    """Hear llama.cpp's log, level and text, instead of whoever heard it before.

    Who took the log meanwhile keeps it: the log is one for the whole process.
    """
    callback = llama.llama_log_callback(
        lambda level, text, _: receive(level, (text or b"").decode("utf-8", "replace"))
    )
    before, user_data = _listener()
    llama.llama_log_set(callback, ctypes.c_void_p())
    try:
        yield
    finally:
        if _address(_listener()[0]) == _address(callback):
            llama.llama_log_set(before, user_data)


def _listener() -> tuple[llama.llama_log_callback, ctypes.c_void_p]:
    listener, user_data = llama.llama_log_callback(), ctypes.c_void_p()
    llama.llama_log_get(ctypes.byref(listener), ctypes.byref(user_data))
    return listener, user_data


def _address(callback: llama.llama_log_callback) -> int | None:
    return ctypes.cast(callback, ctypes.c_void_p).value
