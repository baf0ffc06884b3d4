"""Costs to first order, from slopes."""

from dataclasses import replace

import pytest

from edgellm.errors import InputError
from edgellm.plan import Budget
from edgellm.planner import make_plan
from edgellm.quant_tables import load_tables
from edgellm.sensitivity import StaticSensitivity
from edgellm.sensitivity.error_table import ErrorTable
from edgellm.sensitivity.llm_mq import LlmMqSensitivity
from tests.support.calibrations import made_up_errors
from tests.support.specs import make_spec

TABLES = load_tables()
FORMATS = TABLES.weight_formats
SPEC = make_spec()
DOWN = next(tensor for tensor in SPEC.tensors if tensor.name.endswith("0.mlp.down_proj.weight"))


def errors_with(slope: float) -> ErrorTable:
    return {
        tensor: {name: replace(error, slope=slope * error.row) for name, error in row.items()}
        for tensor, row in made_up_errors(SPEC, TABLES).items()
    }


def test_a_tensor_costs_the_size_of_its_slope_whatever_the_sign() -> None:
    expected = 0.25 * errors_with(1)[DOWN.name]["q4_K"].row
    for slope in (0.25, -0.25):
        judge = LlmMqSensitivity(SPEC, TABLES, errors_with(slope))
        assert judge.cost(DOWN, FORMATS["q4_K"]) == pytest.approx(expected)


def test_a_format_that_was_not_measured_scales_with_its_error_not_the_square() -> None:
    judge = LlmMqSensitivity(SPEC, TABLES, errors_with(1))
    ratio = FORMATS["q4_0"].relative_rmse / FORMATS["iq4_xs"].relative_rmse
    measured = judge.cost(DOWN, FORMATS["iq4_xs"])
    assert judge.cost(DOWN, FORMATS["q4_0"]) == pytest.approx(ratio * measured)


def test_the_caches_are_judged_by_the_static_priors() -> None:
    key, value = TABLES.kv_formats["q8_0"], TABLES.kv_formats["q4_0"]
    judge = LlmMqSensitivity(SPEC, TABLES, errors_with(1))
    assert judge.caches.cost(key, value) == StaticSensitivity(SPEC, TABLES).caches.cost(key, value)


def test_an_error_table_that_lacks_a_tensor_is_refused() -> None:
    errors = {name: row for name, row in errors_with(1).items() if name != DOWN.name}
    with pytest.raises(InputError, match=f"error table lacks {DOWN.name}"):
        LlmMqSensitivity(SPEC, TABLES, errors)


def test_a_plan_names_its_mode() -> None:
    judge = LlmMqSensitivity(SPEC, TABLES, errors_with(1))
    plan = make_plan(SPEC, Budget(512, target_bpw=3.5), TABLES, sensitivity=judge)
    assert plan.sensitivity == "llm-mq"
