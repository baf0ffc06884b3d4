"""The rows of the model picker in any width."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.apps.chat.choosing.offers import Offer
from edgellm.apps.chat.choosing.verdicts import Fit, Verdict
from edgellm.apps.chat.dialogs.model_rows import FITS, Layout, Row, verdict_text

GIB = 1 << 30
OFFER = Offer("llama", "llama-3.1-8b-instruct", 5 * GIB, 4.37, 131072, 6 * GIB)
SHORT = Verdict(Fit.SHORT, 5 * GIB // 4)


def line(cells: int, offer: Offer = OFFER, is_loaded: bool = False) -> str:
    return Layout.of(cells, [offer.name]).line(Row(offer, SHORT, is_loaded)).plain


@pytest.mark.parametrize(
    ("cells", "shown"),
    [
        (34, ["1.2 GiB short"]),
        (56, ["1.2 GiB short", "6.0 GiB"]),
        (65, ["1.2 GiB short", "6.0 GiB", "4.37"]),
        (106, ["1.2 GiB short", "6.0 GiB", "4.37", "131,072", "5.0 GiB"]),
    ],
)
def test_what_matters_most_stays_longest(cells: int, shown: list[str]) -> None:
    every = ["1.2 GiB short", "6.0 GiB", "4.37", "131,072", "5.0 GiB"]
    assert [text for text in every if text in line(cells)] == shown
    assert line(cells).split()[0].startswith("llama-3.1")


@given(
    cells=st.integers(34, 200),
    name=st.text(st.characters(categories=["L", "N", "S"]), min_size=1, max_size=60),
    is_loaded=st.booleans(),
)
def test_a_row_never_takes_more_cells_than_there_are(
    cells: int, name: str, is_loaded: bool
) -> None:
    offers = [
        Offer(name, name, 5 * GIB, 4.37, 131072, 600 * GIB),
        Offer(name, name, about="a checkpoint" * 20),
        Offer(name, name, problem="broken" * 50),
    ]
    layout = Layout.of(cells, [name])
    for offer in offers:
        assert layout.line(Row(offer, SHORT, is_loaded)).cell_len <= cells
    assert layout.heading().cell_len <= cells


def test_a_broken_model_shows_why() -> None:
    broken = Offer("b", "b", problem="edgellm.json: not JSON")
    assert "edgellm.json: not JSON" in line(60, broken)


def test_the_loaded_model_is_marked() -> None:
    assert line(60, is_loaded=True).startswith("● llama")
    assert "loaded" in line(60, is_loaded=True)
    assert "short" not in line(60, is_loaded=True)


def test_a_name_cannot_write_to_the_terminal() -> None:
    assert "\x1b" not in line(60, Offer("x", "\x1b[31mred", GIB))


@pytest.mark.parametrize("verdict", [Verdict(fit, 1023 << 30, True, "--context") for fit in Fit])
def test_each_verdict_has_words_that_fit_its_column(verdict: Verdict) -> None:
    assert 0 < verdict_text(verdict).cell_len <= FITS.cells
