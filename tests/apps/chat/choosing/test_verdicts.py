"""Whether a model fits, as the list of models says it."""

import pytest

from edgellm.apps.chat.choosing.offers import Offer
from edgellm.apps.chat.choosing.verdicts import Fit, Verdict, given_back, judge
from edgellm.apps.free_memory import FreeMemory
from edgellm.events import MemoryUse
from tests.support.dialogs import GIB

# 8 GiB are free of 20, 2 of those are kept; the loaded model gives 3 back.
MACHINE = FreeMemory(8 * GIB, 20 * GIB, 3 * GIB)


def planned(needed_gib: float, context: int = 4096) -> Offer:
    return Offer("m", "m", GIB, 4.5, context, round(needed_gib * GIB))


@pytest.mark.parametrize(
    ("offer", "verdict"),
    [
        (planned(6), Verdict(Fit.FITS)),
        (planned(6.5), Verdict(Fit.INSTEAD)),
        (planned(9), Verdict(Fit.INSTEAD)),
        (planned(9.5), Verdict(Fit.SHORT, GIB // 2)),
        (Offer("f", "f", GIB), Verdict(Fit.UNKNOWN)),
        (Offer("f", "f", 10 * GIB), Verdict(Fit.SHORT, GIB, is_least=True)),
        (Offer("org/name", "org/name"), Verdict(Fit.UNKNOWN)),
    ],
    ids=["fits", "fits once the loaded one goes", "just", "short", "no plan", "weights", "Hub"],
)
def test_a_model_is_judged_by_what_is_free_and_what_the_loaded_one_gives_back(
    offer: Offer, verdict: Verdict
) -> None:
    assert judge(offer, MACHINE, {}) == verdict


@pytest.mark.parametrize(
    ("settings", "option"),
    [
        ({"memory": "4GiB"}, "--memory"),
        ({"memory": 4 * GIB}, "--memory"),
        ({"context": 8192}, "--context"),
    ],
)
def test_what_the_chat_was_started_with_bars_a_model_however_much_is_free(
    settings: dict[str, object], option: str
) -> None:
    verdict = judge(planned(5), MACHINE, settings)  # type: ignore[arg-type]
    assert (verdict.fit, verdict.option) == (Fit.BARRED, option)
    assert option in verdict.reason
    assert "m" in verdict.reason


def test_a_file_takes_any_context_that_the_chat_asks_for() -> None:
    file = Offer("f.gguf", "f.gguf", GIB, context=4096, needed_bytes=2 * GIB)
    assert judge(file, MACHINE, {"context": 8192}).fit is Fit.FITS


@pytest.mark.parametrize(("weights", "back"), [("read", 5), ("locked", 5), ("mapped", 2)])
def test_a_model_gives_back_what_is_not_free_already(weights: str, back: int) -> None:
    use = MemoryUse(3 * GIB, GIB, GIB, 5 * GIB)
    assert given_back(use, {"weights": weights}) == back * GIB
    assert given_back(None, {"weights": weights}) == 0


def test_of_a_file_without_a_plan_only_its_weights_are_sure() -> None:
    file = Offer("f.gguf", "f.gguf", 2 * GIB, context=4096, needed_bytes=3 * GIB)
    assert judge(file, MACHINE, {"memory": "2.5GiB"}).fit is Fit.FITS
    assert judge(file, MACHINE, {"memory": "1.5GiB"}).fit is Fit.BARRED
