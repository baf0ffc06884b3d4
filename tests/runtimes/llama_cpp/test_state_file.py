"""Files of saved conversations: whole, signed, and refused in one line when they are not."""

import errno
import json
import os
import struct
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Never

import numpy as np
import pytest

from edgellm.errors import IntegrityError, OutputError
from edgellm.runtimes.llama_cpp.state_file import MAX_HEADER_BYTES, new_state, open_state
from edgellm.runtimes.llama_cpp.state_key import StateKey

KEY = StateKey(bytes(range(32)))
FINGERPRINT = {"model": "a" * 64, "llama.cpp": "1.2", "K cache": "q8_0"}
TOKENS = [1, 5, 70000, -1]
NOTES = b"[]"
PIECES = [b"first" * 50, b"second" * 60]


def write(path: Path, pieces: Sequence[bytes] = PIECES) -> Path:
    sizes = [len(piece) for piece in pieces]
    with new_state(path, KEY, FINGERPRINT, TOKENS, NOTES, sizes) as file:
        for piece in pieces:
            file.add(piece)
    return path


def read(path: Path, **changes: str) -> tuple[list[int], bytes, list[bytes]]:
    with open_state(path, KEY, FINGERPRINT | changes) as reader:
        return reader.tokens, reader.notes, [bytes(piece) for piece in reader.pieces()]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return write(tmp_path / "state")


def test_what_was_written_is_read_again(state: Path) -> None:
    assert read(state) == (TOKENS, NOTES, PIECES)


def test_every_flipped_byte_is_noticed(state: Path) -> None:
    whole = state.read_bytes()
    for at in np.random.default_rng(0).permutation(len(whole))[:200]:
        changed = bytearray(whole)
        changed[at] ^= 1 << int(at) % 8
        state.write_bytes(changed)
        with pytest.raises(IntegrityError) as refused:
            read(state)
        assert "\n" not in str(refused.value)


def test_every_truncation_and_addition_is_noticed(state: Path) -> None:
    whole = state.read_bytes()
    lengths = np.random.default_rng(1).permutation(len(whole))[:200]
    for content in [b"", *(whole[:length] for length in lengths), whole + b"x"]:
        state.write_bytes(content)
        with pytest.raises(IntegrityError):
            read(state)


def test_a_cut_off_file_is_refused_before_its_pieces_are_read(state: Path) -> None:
    state.write_bytes(state.read_bytes()[:-1])
    with (
        pytest.raises(IntegrityError, match=r"bytes after its header, expected"),
        open_state(state, KEY, FINGERPRINT),
    ):
        pytest.fail("it was opened")


def test_pieces_of_two_files_cannot_be_mixed(state: Path, tmp_path: Path) -> None:
    other = write(tmp_path / "other", [PIECES[0], b"SECOND" * 60]).read_bytes()
    tail = 360 + 32
    state.write_bytes(state.read_bytes()[:-tail] + other[-tail:])
    with pytest.raises(IntegrityError, match="was changed or damaged"):
        read(state)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "b" * 64}, f"was saved with model {'a' * 64}; here it is {'b' * 64}"),
        ({"llama.cpp": "1.3"}, r"was saved with llama\.cpp 1\.2; here it is 1\.3"),
        ({"K cache": "f16"}, "was saved with K cache q8_0; here it is f16"),
        ({"V cache": "f16"}, "was saved with V cache nothing; here it is f16"),
    ],
)
def test_another_fingerprint_is_refused_by_name(
    state: Path, changes: dict[str, str], message: str
) -> None:
    with pytest.raises(IntegrityError, match=message):
        read(state, **changes)


def test_a_file_signed_with_another_key_is_foreign(state: Path) -> None:
    with (
        pytest.raises(IntegrityError, match="by another user or on another machine"),
        open_state(state, StateKey(bytes(32)), FINGERPRINT),
    ):
        pytest.fail("it was opened")


def test_the_key_s_id_alone_does_not_open_a_file(state: Path) -> None:
    forged = bytearray(state.read_bytes())
    forged[16:24] = StateKey(bytes(32)).id
    state.write_bytes(forged)
    with (
        pytest.raises(IntegrityError, match="was changed or damaged"),
        open_state(state, StateKey(bytes(32)), FINGERPRINT),
    ):
        pytest.fail("it was opened")


def test_another_format_and_other_files_are_told_apart(state: Path) -> None:
    raw = bytearray(state.read_bytes())
    raw[8] = 2
    state.write_bytes(raw)
    with pytest.raises(IntegrityError, match="format 2, this one reads 1"):
        read(state)
    state.write_bytes(b"GGUF" + bytes(100))
    with pytest.raises(IntegrityError, match="is no saved conversation"):
        read(state)
    state.unlink()
    with pytest.raises(IntegrityError, match="no such file"):
        read(state)


def test_a_huge_header_is_refused_without_memory_for_it(state: Path) -> None:
    start = struct.pack("<8sII8s", b"edgellmK", 1, 0xFFFFFFFF, KEY.id)
    with state.open("wb") as file:
        file.write(start)
        file.truncate(1 << 40)  # a hole, which takes no space
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="claims a header of 4294967295 bytes"):
            read(state)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_claimed_section_is_not_set_aside_before_the_signature_holds(state: Path) -> None:
    header = json.dumps({"fingerprint": FINGERPRINT, "tokens": 1, "sections": [1 << 50]}).encode()
    assert len(header) < MAX_HEADER_BYTES
    start = struct.pack("<8sII8s", b"edgellmK", 1, len(header), KEY.id)
    state.write_bytes(start + header + bytes(32))
    os.truncate(state, 1 << 40)
    tracemalloc.start()
    try:
        with pytest.raises(IntegrityError, match="was changed or damaged"):
            read(state)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_full_disk_leaves_the_old_file_and_no_other(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = state.read_bytes()

    def fail(*arguments: object) -> Never:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("edgellm.runtimes.llama_cpp.state_file.write_all", fail)
    with pytest.raises(OutputError, match="state: cannot be written: No space left"):
        write(state)
    assert state.read_bytes() == before
    assert list(state.parent.iterdir()) == [state]


def test_an_interrupt_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(file: BinaryIO, payload: bytes) -> None:
        file.write(payload[: len(payload) // 2])
        if bytes(payload) == PIECES[1]:
            raise KeyboardInterrupt

    monkeypatch.setattr("edgellm.runtimes.llama_cpp.state_file.write_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "state")
    assert not list(tmp_path.iterdir())
