"""Messages and errors as bytes; how a process ended as a line."""

import io
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm import errors
from edgellm.errors import BudgetError, EdgeLLMError, FormatError, UnsupportedError
from edgellm.runtimes.worker.crossing import ATTRIBUTES, decode_error, encode_error
from edgellm.runtimes.worker.endings import ending, last_words
from edgellm.runtimes.worker.frames import FrameError, Kind, pack, read_frame, unpack_call

NUMBERS = st.integers(0, 2**32 - 1)
EXAMPLES: dict[type[EdgeLLMError], EdgeLLMError] = {
    FormatError: FormatError(Path("x/\udcff.gguf"), "bad magic", 7),
    UnsupportedError: UnsupportedError("rope 'yarn'", ["linear", "llama3"], "convert it"),
    BudgetError: BudgetError(
        "no", needed_bytes=2**70, budget_bytes=1, largest_context=0, parts={"kv": 3}
    ),
    errors.RuntimeFailure: errors.RuntimeFailure("llama.cpp", "it\x1b[31m\nfailed"),
}


@given(st.sampled_from(Kind), NUMBERS, st.binary(max_size=300), st.integers(0, 320))
def test_a_message_is_read_as_written_and_a_part_of_one_is_the_end(
    kind: Kind, call: int, body: bytes, cut: int
) -> None:
    frame = pack(kind, call, body)
    assert read_frame(io.BytesIO(frame + frame)) == (kind, call, body)
    assert read_frame(io.BytesIO(frame[: min(cut, len(frame) - 1)])) is None


@given(st.binary(max_size=40))
def test_any_bytes_are_a_message_the_end_or_an_error(junk: bytes) -> None:
    with suppress(FrameError):
        frame = read_frame(io.BytesIO(junk))
        assert frame is None or pack(*frame) == junk[: len(frame.body) + 9]


@given(st.binary(max_size=60))
def test_any_bytes_are_an_error_of_ours_or_refused(junk: bytes) -> None:
    for read in (decode_error, unpack_call):
        with suppress(FrameError):
            read(junk)


def tree(top: type[EdgeLLMError]) -> set[type[EdgeLLMError]]:
    return {top}.union(*(tree(kind) for kind in top.__subclasses__()))


def test_every_error_of_the_tree_has_a_row() -> None:
    ours = {kind for kind in tree(EdgeLLMError) if kind.__module__ == errors.__name__}
    assert ours == set(ATTRIBUTES)


def as_text(value: Any) -> Any:
    return str(value) if isinstance(value, Path) else value


@pytest.mark.parametrize("kind", ATTRIBUTES, ids=lambda kind: kind.__name__)
def test_an_error_crosses_whole(kind: type[EdgeLLMError]) -> None:
    error = EXAMPLES.get(kind) or kind("what: where; got 'x'; do this")
    crossed = decode_error(encode_error(error))
    assert type(crossed) is kind
    assert str(crossed) == str(error)
    assert vars(crossed) == {name: as_text(value) for name, value in vars(error).items()}


def test_a_class_outside_the_tree_crosses_as_its_nearest_base() -> None:
    class OwnError(errors.OutputError):
        pass

    assert type(decode_error(encode_error(OwnError("disk")))) is errors.OutputError


FAULT = "Fatal Python error: Segmentation fault\n\nCurrent thread 0x0 (most recent call first):\n"
TRACEBACK = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n'


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("", ""),
        ("one\n\ntwo\nthree\nfour\n", "two; three; four"),
        ("GGML_ASSERT(x)\n" + FAULT + '  File "a.py", line 1 in f\n', "GGML_ASSERT(x)"),
        (FAULT + '  File "a.py", line 1 in f\n  File "b.py"\n', 'File "a.py", line 1 in f'),
        ("before\n" + TRACEBACK + "ModuleNotFoundError: x\n", "before; ModuleNotFoundError: x"),
        (TRACEBACK + "A: 1\n" + TRACEBACK + "B: 2\n", "A: 1; B: 2"),
        ("\x1b[2Jcleared\x00\n", "[2Jcleared"),
        ("y" * 9999, "y" * 400),
        ("/tmp/pip-1/ggml/src/ggml.c:16: GGML_ASSERT(n/2)\n", "ggml.c:16: GGML_ASSERT(n/2)"),
        ("C:\\b\\ggml.cpp:16: it/is: 1: so\n", "ggml.cpp:16: it/is: 1: so"),
    ],
)
def test_last_words_are_the_lines_that_tell_something(log: str, words: str) -> None:
    assert last_words(log) == words


def test_an_abort_under_a_limit_points_at_the_limit() -> None:
    line = ending(-6, "std::bad_alloc\n", memory_limit_bytes=3 << 30)
    assert line.endswith("std::bad_alloc; perhaps for its limit of 3.00 GiB of memory")


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (-6, "signal 6 (aborted)"),
        (0, "status 0"),
        (0xC0000005, "status 0xc0000005 (access violation)"),
    ],
)
def test_an_ending_names_the_signal_or_the_status(status: int, expected: str) -> None:
    assert ending(status, "") == f"its process ended with {expected}"
