"""Text from token pieces: whole characters, and never a part of a stop string."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from edgellm.runtimes.text_stream import StopFilter, TextStream

LETTERS = st.text("ab<|>", max_size=30)
STOPS = st.lists(st.text("ab<|>", min_size=1, max_size=5), max_size=3).map(tuple)


def cut(text: str, places: list[int]) -> list[str]:
    edges = [0, *sorted(place % (len(text) + 1) for place in places), len(text)]
    return [text[start:end] for start, end in pairwise(edges)]


def run(pieces: list[str], stops: tuple[str, ...]) -> tuple[list[str], bool]:
    stream = StopFilter(stops)
    shown = []
    for piece in pieces:
        shown.append(stream.feed(piece))
        if stream.stopped:
            return shown, True
    return [*shown, stream.flush()], False


@given(LETTERS, STOPS, st.lists(st.integers(0, 30), max_size=8))
def test_the_text_before_the_first_stop_is_shown_however_it_is_cut(
    text: str, stops: tuple[str, ...], places: list[int]
) -> None:
    shown, stopped = run(cut(text, places), stops)
    ends = {text.find(stop) + len(stop): text.find(stop) for stop in stops if stop in text}
    assert stopped == bool(ends)
    whole = "".join(shown)
    assert text.startswith(whole)
    assert not any(stop in whole for stop in stops)
    if not ends:
        assert whole == text


@given(LETTERS, STOPS, st.lists(st.integers(0, 30), max_size=8))
def test_no_beginning_of_a_stop_is_shown_before_it_is_decided(
    text: str, stops: tuple[str, ...], places: list[int]
) -> None:
    stream = StopFilter(stops)
    shown = fed = ""
    for piece in cut(text, places):
        fed += piece
        shown += stream.feed(piece)
        if stream.stopped:
            break
        held = fed[len(shown) :]
        assert fed.startswith(shown)
        assert not held or any(stop.startswith(held) for stop in stops)


def test_a_stop_split_over_three_pieces_is_not_shown() -> None:
    assert run(["one <|", "en", "d|> two"], ("<|end|>",)) == (["one ", "", ""], True)


def test_text_that_only_looked_like_a_stop_is_shown_at_the_end() -> None:
    assert run(["one <|en"], ("<|end|>",)) == (["one ", "<|en"], False)


@given(st.text(), st.lists(st.integers(0, 400), max_size=20))
def test_characters_are_whole_however_their_bytes_are_cut(text: str, places: list[int]) -> None:
    raw = text.encode("utf-8", "replace")
    edges = [0, *sorted(place % (len(raw) + 1) for place in places), len(raw)]
    stream = TextStream(())
    shown = [stream.feed(raw[a:b]) for a, b in pairwise(edges)]
    assert "".join(shown) + stream.flush() == raw.decode()


def test_a_character_that_never_became_whole_is_dropped() -> None:
    stream = TextStream(())
    assert stream.feed("né".encode()[:2]) + stream.flush() == "n"


def test_a_byte_that_begins_no_character_is_replaced() -> None:
    assert TextStream(()).feed(b"a\xffb") == "a\ufffdb"
