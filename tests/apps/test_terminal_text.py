"""What a terminal obeys never reaches it; what people write does."""

import sys
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.apps.cli.answer import stream
from edgellm.apps.terminal_text import harmless, one_line, printable
from edgellm.events import Done, Event, TextDelta, Timings, Usage

EMBEDDINGS = "\u202a\u202b\u202c\u202d\u202e"
ISOLATES = "\u2066\u2067\u2068\u2069"
WRITTEN = {
    "lines and tabs": "a\n\tb\n\n",
    "an emoji of several": "👩\u200d👩\u200d👧\u200d👦 🧑🏽\u200d🚀",
    "a flag by its tags": "🏴\U000e0067\U000e0062\U000e007f 🇳🇱",
    "an emoji by its variant": "❤\ufe0f ☺\ufe0e 1\ufe0f\u20e3",
    "combining marks": "e\u0301 n\u0303 o\u0302\u0323 \u0915\u094d\u200d\u0937",
    "Hebrew": "שלום \u200fמה\u200e שלומך",
    "Arabic": "\u0645\u0631\u062d\u0628\u0627 \u0647\u200d \u0628\u0650\u0633\u0652\u0645\u0650",
    "Persian with its own spaces": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Chinese, Japanese, Korean": "中文 ひらがな カタカナ 한국어\u3000",
    "signs": "\u00a0\u00ad\u2026\u2014\u20ac",
    "private and new characters": "\ue000 \U0001fae9 \U0010fffd",
}


def is_obeyed(char: str) -> bool:
    """Control characters of C0 and C1, turns of the direction, halves, separators of lines."""
    is_control = unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") and char not in "\n\t"
    return is_control or char in EMBEDDINGS + ISOLATES


any_text = st.text(st.one_of(st.characters(), st.sampled_from("\x1b\r\n\t\u202e\u2069\x9b\ud800")))


@settings(deadline=None)
@given(any_text)
def test_nothing_that_a_terminal_obeys_is_left(text: str) -> None:
    assert not any(map(is_obeyed, harmless(text)))
    assert not any(is_obeyed(char) or char in "\n\t" for char in one_line(text))


@settings(deadline=None)
@given(any_text)
def test_all_else_stays_as_it_is(text: str) -> None:
    written = "".join(char for char in text if not is_obeyed(char))
    assert harmless(written) == written
    shown = iter(harmless(text))
    assert all(char in shown for char in written)


@settings(deadline=None)
@given(any_text)
def test_twice_is_as_once(text: str) -> None:
    assert harmless(harmless(text)) == harmless(text)
    assert one_line(one_line(text)) == one_line(text)
    assert printable(printable(text)) == printable(text)


@settings(deadline=None)
@given(any_text, any_text)
def test_a_text_may_come_in_pieces(first: str, second: str) -> None:
    assert harmless(first) + harmless(second) == harmless(first + second)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_people_write_stays(name: str) -> None:
    assert harmless(WRITTEN[name]) == WRITTEN[name]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", "\\x1b[2J"),
        ("\x9b31m", "\\x9b31m"),
        ("a\x07\x08\x7f", "a\\x07\\x08\\x7f"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud83d", "\\ud83d"),
        ("a\r\nb\rc", "a\nbc"),
    ],
)
def test_what_is_obeyed_is_shown(text: str, shown: str) -> None:
    assert harmless(text) == shown


def test_one_line_is_one() -> None:
    assert one_line("  a\r\n\tb\u2028c\x85\x1bd ") == "a b c \\x1bd"


@settings(deadline=None)
@given(any_text)
def test_in_errors_nothing_is_hidden(text: str) -> None:
    assert printable(text).isprintable()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_an_answer_keeps_its_emoji_and_reaches_files_as_it_is(
    is_terminal: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: is_terminal)
    text = "👩\u200d🚀 \x1b[2J"
    done = Done(Usage(1, 2), Timings(1, 1, 1, 1), "end", text)
    events: list[Event] = [TextDelta(char) for char in text]
    stream(iter([*events, done]))
    assert capsys.readouterr().out == ("👩\u200d🚀 \\x1b[2J\n" if is_terminal else text + "\n")
