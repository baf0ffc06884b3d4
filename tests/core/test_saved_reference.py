"""Saved references: read back as they were, and nothing else is believed."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.errors import FormatError, InputError
from edgellm.likeliest import Likeliest, Softmax, keep_likeliest
from edgellm.saved_reference import (
    MAGIC,
    STEP,
    ReferenceHeader,
    SavedReference,
    is_saved_reference,
    writing_reference,
)

WINDOWS = [[1, 2, 3, 4, 5, 6], [1, 9, 9, 9, 9, 9]]


def header(vocabulary: int = 50, **changes: int) -> ReferenceHeader:
    facts = {"vocabulary_size": vocabulary, "window": 6, "first": 2, "windows": 2} | changes
    return ReferenceHeader("ref", "a" * 64, "b" * 64, **facts, tail=1e-3)


def predictions(seed: int, vocabulary: int = 50, tail: float = 1e-3) -> Likeliest:
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 3, (3, vocabulary)).astype(np.float32)
    return keep_likeliest(Softmax(logits, "it"), rng.integers(0, vocabulary, 3), tail)


def write(path: Path, vocabulary: int = 50) -> Path:
    with writing_reference(path, header(vocabulary)) as writer:
        for seed, window in enumerate(WINDOWS):
            writer.begin_window(window)
            writer.add(predictions(seed, vocabulary))
    return path


def read_all(path: Path) -> list[Likeliest]:
    with SavedReference(path) as saved:
        found = []
        for window in WINDOWS:
            saved.begin_window(window, "text")
            found += [saved.take(1), saved.take(2)]
    return found


@settings(max_examples=30)
@given(st.integers(0, 99), st.sampled_from([2, 300, 70_000]), st.sampled_from([0.3, 1e-4]))
def test_what_was_written_is_read_back_to_half_a_step(
    tmp_path_factory: pytest.TempPathFactory, seed: int, vocabulary: int, tail: float
) -> None:
    path = tmp_path_factory.mktemp("saved") / "a.reference"
    rows = predictions(seed, vocabulary, tail)
    with writing_reference(path, header(vocabulary, windows=1)) as writer:
        writer.begin_window(WINDOWS[0])
        writer.add(rows)
    with SavedReference(path) as saved:
        saved.begin_window(WINDOWS[0], "text")
        found = saved.take(3)
    np.testing.assert_array_equal(found.tokens, rows.tokens)
    np.testing.assert_array_equal(found.following, rows.following)
    np.testing.assert_allclose(found.tails, rows.tails, rtol=1e-6)
    # Half a step of its own, and at most as much by which its row is rescaled.
    np.testing.assert_allclose(np.log(found.probabilities), np.log(rows.probabilities), atol=STEP)
    sums = np.add.reduceat(found.probabilities, found.starts[:-1]) + found.tails
    np.testing.assert_allclose(sums, 1, rtol=1e-12)


def test_the_header_says_what_it_said(tmp_path: Path) -> None:
    with SavedReference(write(tmp_path / "a")) as saved:
        assert saved.header == header()
    assert is_saved_reference(tmp_path / "a")
    assert not is_saved_reference(tmp_path / "none")


def test_a_window_of_other_tokens_is_refused(tmp_path: Path) -> None:
    with (
        SavedReference(write(tmp_path / "a")) as saved,
        pytest.raises(InputError, match="other tokens than the model makes of story"),
    ):
        saved.begin_window(WINDOWS[1], "story")


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "a").read_bytes()
    for length in range(0, len(whole), 31):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_all(tmp_path / "cut")


@given(st.integers(0), st.integers(1, 255))
def test_a_changed_byte_is_refused_or_gives_probabilities(
    tmp_path_factory: pytest.TempPathFactory, at: int, change: int
) -> None:
    folder = tmp_path_factory.mktemp("saved")
    content = bytearray(write(folder / "a").read_bytes())
    content[at % len(content)] ^= change
    (folder / "b").write_bytes(content)
    try:
        found = read_all(folder / "b")
    except InputError:
        return
    for rows in found:
        assert rows.probabilities.min() > 0
        assert rows.tokens.max() < 50
        sums = np.add.reduceat(rows.probabilities, rows.starts[:-1]) + rows.tails
        np.testing.assert_allclose(sums, 1)


POSITION = len(MAGIC) + 8 + 4  # of the header


@pytest.mark.parametrize(
    ("kept", "tail", "following", "entries", "complaint"),
    [
        (0, 0.0, -1.0, [], "keeps 0 tokens"),
        (51, 0.0, -1.0, [], "keeps 51 tokens"),
        (1, np.nan, -1.0, [(3, 0)], "impossible probability"),
        (1, 0.0, np.nan, [(3, 0)], "impossible probability"),
        (1, 0.0, 0.5, [(3, 0)], "impossible probability"),
        (1, 0.0, -1.0, [(50, 0)], "token 50 in a vocabulary of 50"),
        (2, 0.0, -1.0, [(3, 1420), (3, 1420)], "keeps a token twice"),
        (2, 0.2, -1.0, [(3, 3000), (4, 900)], "not in order"),
        (1, 0.5, -1.0, [(3, 0)], "do not sum to 1"),
        (1, 0.0, -1.0, [(3, 2048)], "do not sum to 1"),
    ],
)
def test_impossible_predictions_are_refused_by_what_is_wrong(
    tmp_path: Path,
    kept: int,
    tail: float,
    following: float,
    entries: list[tuple[int, int]],
    complaint: str,
) -> None:
    path = write(tmp_path / "a")
    content = path.read_bytes()
    length = int.from_bytes(content[POSITION - 4 : POSITION], "little")
    at = POSITION + length + 32
    position = np.array([(kept, tail, following)], "<u4,<f4,<f8").tobytes()
    fake = position + np.array(entries, "<u2,<u2").tobytes()
    path.write_bytes(content[:at] + fake + content[at + len(fake) :])
    with pytest.raises(FormatError, match=complaint):
        read_all(path)


def save_half(path: Path) -> None:
    with writing_reference(path, header()) as writer:
        writer.begin_window(WINDOWS[0])
        raise RuntimeError("stop")


def test_a_failed_save_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="stop"):
        save_half(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
