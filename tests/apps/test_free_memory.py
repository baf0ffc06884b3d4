"""How much memory a model may take."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.apps.free_memory import FreeMemory, look_at_memory
from tests.support.dialogs import GIB, set_memory

MIB = 1 << 20


@pytest.mark.parametrize(
    ("free", "total", "returned", "usable"),
    [
        (10 * GIB, 20 * GIB, 0, 8 * GIB),  # a tenth of all is kept
        (3 * GIB, 4 * GIB, 0, 3 * GIB - 512 * MIB),  # but no less than that
        (600 * MIB, 4 * GIB, 0, 300 * MIB),  # nor more than half of what is free
        (10 * GIB, 20 * GIB, 3 * GIB, 11 * GIB),  # the loaded model's is free once it has gone
        (19 * GIB, 20 * GIB, 3 * GIB, 18 * GIB),  # a machine has no more than it has
    ],
)
def test_what_is_free_is_a_models_but_for_a_reserve(
    free: int, total: int, returned: int, usable: int
) -> None:
    assert FreeMemory(free, total, returned).usable_bytes == usable


@given(free=st.integers(0, 1 << 45))
def test_a_budget_has_four_bits_and_is_little_less_than_what_is_usable(free: int) -> None:
    memory = FreeMemory(free, 1 << 46)
    digits = f"{memory.budget_bytes:b}".rstrip("0")
    assert len(digits) <= 4
    assert memory.usable_bytes * 7 / 8 <= memory.budget_bytes <= memory.usable_bytes


def test_this_machine_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    set_memory(monkeypatch, 5 * GIB, 8 * GIB)
    assert look_at_memory(GIB) == FreeMemory(5 * GIB, 8 * GIB, GIB)
