"""Judges of cache formats: what is measured goes first, what was measured alone adds up."""

from edgellm.quant_tables import load_tables
from edgellm.sensitivity.caches import MeasuredCaches, StaticCaches
from tests.support.specs import make_spec

TABLES = load_tables()
STATIC = StaticCaches(make_spec(), TABLES)
MEASURED = MeasuredCaches(
    {
        ("f16", "f16"): 0.0,
        ("q8_0", "f16"): 0.125,
        ("q4_0", "f16"): 0.5,
        ("f16", "q4_0"): 0.25,
        ("q4_0", "q4_0"): 0.875,
    },
    STATIC,
)


def cost(judge: MeasuredCaches | StaticCaches, key: str, value: str) -> float:
    return judge.cost(TABLES.kv_formats[key], TABLES.kv_formats[value])


def test_a_measured_pair_costs_what_was_measured() -> None:
    assert cost(MEASURED, "q4_0", "q4_0") == 0.875
    assert cost(MEASURED, "f16", "f16") == 0.0


def test_a_pair_measured_only_apart_costs_what_its_k_and_v_cost() -> None:
    assert cost(MEASURED, "q8_0", "q4_0") == 0.375


def test_a_format_that_was_not_measured_is_left_to_the_other_judge() -> None:
    assert cost(MEASURED, "q8_0", "q5_0") == cost(STATIC, "q8_0", "q5_0")
    assert cost(MEASURED, "bf16", "q4_0") == cost(STATIC, "bf16", "q4_0")


def test_static_priors_price_every_offered_pair_and_coarser_ones_higher() -> None:
    for key, value in TABLES.kv_pairs:
        assert (
            cost(STATIC, "f16", "f16") <= cost(STATIC, key, value) <= cost(STATIC, "q2_0", "q2_0")
        )
    ordered = ("f16", "q8_0", "q5_1", "q5_0", "iq4_nl", "q2_0")
    assert [cost(STATIC, name, "f16") for name in ordered] == sorted(
        cost(STATIC, name, "f16") for name in ordered
    )
