"""Saved sequences go on exactly as if they had never left the cache."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import llama_cpp.llama_cpp as llama
import numpy as np
import pytest

from edgellm.errors import IntegrityError
from edgellm.runtimes.llama_cpp import state as state_module
from edgellm.runtimes.llama_cpp.library import StatusError
from edgellm.runtimes.llama_cpp.state_file import new_state, open_state
from edgellm.runtimes.llama_cpp.state_key import StateKey
from tests.support.cells import Cells, open_cells
from tests.support.gguf import TinyLlama

KEY = StateKey(bytes(32))
FINGERPRINT = {"model": "tiny"}
PROMPT = [1, *(300 - index % 37 for index in range(99))]
OTHER = PROMPT[40:90]
MORE = list(range(270, 290))


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    return TinyLlama(hidden=128, heads=2).write(folder / "tiny.gguf")


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some tokens a piece, so that the tiny sequences take many."""
    monkeypatch.setattr(state_module, "PIECE_BYTES", 10_000)


def save(cells: Cells, tokens: list[int], path: Path, source: int = 0) -> Path:
    cells.sequences.save(
        source, tokens, lambda sizes: new_state(path, KEY, FINGERPRINT, tokens, b"", sizes)
    )
    return path


def restore(cells: Cells, path: Path, make_room: Callable[[], bool] = lambda: False) -> list[int]:
    with open_state(path, KEY, FINGERPRINT) as reader:
        cells.sequences.restore(reader.pieces(), make_room)
        return reader.tokens


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize(
    ("key", "value"), [("f16", "f16"), ("f32", "f32"), ("q8_0", "q8_0"), ("q4_0", "iq4_nl")]
)
def test_a_restored_sequence_goes_on_with_identical_logits(
    gguf: Path, tmp_path: Path, key: str, value: str
) -> None:
    with open_cells(gguf, key, value) as cells:
        cells.read(PROMPT)
        saved = save(cells, PROMPT, tmp_path / "state")
        expected = cells.go_on(MORE)
    with open_cells(gguf, key, value) as cells:
        assert restore(cells, saved) == PROMPT
        assert np.array_equal(cells.go_on(MORE), expected)
    assert expected.std(axis=1).min() > 0.1, "flat logits would agree by themselves"


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("read_on", [False, True])
def test_a_shifted_sequence_is_saved_as_it_would_go_on(
    gguf: Path, tmp_path: Path, read_on: bool
) -> None:
    kept = PROMPT[:10] + PROMPT[50:]
    with open_cells(gguf, "q8_0") as cells:
        cells.read(PROMPT)
        cells.drop(10, 50)
        if read_on:
            cells.read(MORE)
            kept = kept + MORE
        saved = save(cells, kept, tmp_path / "state")
        expected = cells.go_on(MORE)
    with open_cells(gguf, "q8_0") as cells:
        restore(cells, saved)
        found = cells.go_on(MORE)
    # The cells lie closer together now, so sums are taken in another order.
    np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.usefixtures("small_pieces")
def test_the_beginning_of_a_sequence_can_be_saved_alone(gguf: Path, tmp_path: Path) -> None:
    with open_cells(gguf) as cells:
        cells.read(PROMPT[:60])
        expected = cells.go_on(MORE)
    with open_cells(gguf) as cells:
        cells.read(PROMPT[:60])
        cells.read(PROMPT[60:])
        saved = save(cells, PROMPT[:60], tmp_path / "state")
    with open_cells(gguf) as cells:
        assert restore(cells, saved) == PROMPT[:60]
        assert np.array_equal(cells.go_on(MORE), expected)


@pytest.mark.usefixtures("small_pieces")
@pytest.mark.parametrize("format_name", ["q8_0", "f16"])
def test_sequences_that_are_there_already_do_not_notice(
    gguf: Path, tmp_path: Path, format_name: str
) -> None:
    with open_cells(gguf, format_name) as cells:
        cells.read(PROMPT)
        saved = save(cells, PROMPT, tmp_path / "state")
        expected = cells.go_on(MORE)
    with open_cells(gguf, format_name) as cells:
        cells.read(OTHER)
        alone = cells.go_on(MORE)
    with open_cells(gguf, format_name) as cells:
        cells.read(OTHER)
        cells.move(0, 1)
        restore(cells, saved)
        assert np.array_equal(cells.go_on(MORE), expected)
        cells.move(0, 2)
        cells.move(1, 0)
        assert np.array_equal(cells.go_on(MORE), alone)


def test_any_sequence_can_be_saved_and_all_stay_as_they_were(gguf: Path, tmp_path: Path) -> None:
    with open_cells(gguf) as cells:
        cells.read(PROMPT)
        expected = cells.go_on(MORE)
    with open_cells(gguf) as cells:
        cells.read(PROMPT)
        cells.move(0, 1)
        cells.read(OTHER)
        saved = save(cells, PROMPT, tmp_path / "state", source=1)
        assert (cells.last(0), cells.last(1)) == (len(OTHER) - 1, len(PROMPT) - 1)
        assert [cells.last(number) for number in range(2, 256)] == [-1] * 254
        cells.move(0, 2)
        cells.move(1, 0)
        assert np.array_equal(cells.go_on(MORE), expected)
    with open_cells(gguf) as cells:
        restore(cells, saved)
        assert np.array_equal(cells.go_on(MORE), expected)


@pytest.mark.parametrize("context", [1024, 256])
def test_a_context_of_another_size_takes_what_fits(
    gguf: Path, tmp_path: Path, context: int
) -> None:
    with open_cells(gguf, "q8_0") as cells:
        cells.read(PROMPT)
        saved = save(cells, PROMPT, tmp_path / "state")
        expected = cells.go_on(MORE)
    with open_cells(gguf, "q8_0", context=context) as cells:
        restore(cells, saved)
        assert np.array_equal(cells.go_on(MORE), expected)


@pytest.mark.usefixtures("small_pieces")
def test_others_make_room_for_what_is_restored(gguf: Path, tmp_path: Path) -> None:
    with open_cells(gguf, context=256) as cells:
        cells.read(PROMPT)
        saved = save(cells, PROMPT, tmp_path / "state")
        cells.move(0, 1)
        cells.read(PROMPT)
        cells.move(0, 2)
        asked = []

        def make_room() -> bool:
            asked.append(True)
            return bool(llama.llama_memory_seq_rm(cells.memory, 1, -1, -1))

        restore(cells, saved, make_room)
        assert asked == [True]
        assert [cells.last(number) for number in range(3)] == [99, -1, 99]


@pytest.mark.usefixtures("small_pieces")
def test_without_room_nothing_is_restored(gguf: Path, tmp_path: Path) -> None:
    tokens = (PROMPT * 3)[:257]
    with open_cells(gguf) as cells:
        cells.read(tokens)
        saved = save(cells, tokens, tmp_path / "state")
    with open_cells(gguf, context=256) as cells:
        with pytest.raises(StatusError, match="no room"):
            restore(cells, saved)
        assert cells.last() == -1


@pytest.mark.usefixtures("small_pieces")
def test_after_a_bad_piece_the_sequence_holds_nothing(gguf: Path, tmp_path: Path) -> None:
    with open_cells(gguf) as cells:
        cells.read(PROMPT)
        saved = save(cells, PROMPT, tmp_path / "state")
        cells.move(0, 1)
        raw = bytearray(saved.read_bytes())
        raw[-1000] ^= 1
        saved.write_bytes(raw)
        with pytest.raises(IntegrityError, match="changed or damaged"):
            restore(cells, saved)
        assert (cells.last(0), cells.last(1)) == (-1, len(PROMPT) - 1)


@pytest.mark.usefixtures("small_pieces")
def test_neither_way_takes_memory_for_the_whole(gguf: Path, tmp_path: Path) -> None:
    tokens = (PROMPT * 5)[:500]
    with open_cells(gguf, "f32") as cells:
        cells.read(tokens)
        tracemalloc.start()
        try:
            saved = save(cells, tokens, tmp_path / "state")
            cells.move(0, 1)
            llama.llama_memory_seq_rm(cells.memory, 1, -1, -1)
            restore(cells, saved)
            peak_bytes = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert peak_bytes < saved.stat().st_size // 4


def test_only_its_user_can_read_a_saved_conversation(gguf: Path, tmp_path: Path) -> None:
    with open_cells(gguf) as cells:
        cells.read(PROMPT)
        saved = save(cells, PROMPT, tmp_path / "state")
    assert saved.stat().st_mode & 0o777 == 0o600
