"""Costs from measured gains and errors, and plans made of them."""

from dataclasses import replace

import pytest

from edgellm.calibration import Calibration
from edgellm.errors import InputError
from edgellm.plan import Budget
from edgellm.planner import make_plan, settle_plan
from edgellm.quant_tables import load_tables
from edgellm.sensitivity import Sensitivity, StaticSensitivity
from edgellm.sensitivity.error_table import ErrorTable
from edgellm.sensitivity.noise import NoiseSensitivity
from edgellm.spec import ModelSpec, Role
from tests.support.calibrations import made_up_calibration, made_up_errors
from tests.support.specs import make_spec

TABLES = load_tables()
FORMATS = TABLES.weight_formats
TIED, UNTIED = make_spec(tied=True), make_spec(tied=False)
EMBEDDING, DOWN = "model.embed_tokens.weight", "model.layers.0.mlp.down_proj.weight"
EIGHT_B = make_spec(
    layers=32, hidden=4096, ffn=14336, heads=32, kv_heads=8, head_dim=128, vocab=128256, tied=False
)


def noise_of(
    spec: ModelSpec, calibration: Calibration | None = None, errors: ErrorTable | None = None
) -> Sensitivity:
    return NoiseSensitivity(
        spec,
        TABLES,
        calibration or made_up_calibration(spec),
        errors or made_up_errors(spec, TABLES),
    )


def cost(spec: ModelSpec, name: str, format_name: str) -> float:
    tensor = next(tensor for tensor in spec.tensors if tensor.name == name)
    return noise_of(spec).cost(tensor, FORMATS[format_name])


def test_a_linear_costs_its_gain_for_each_unit_of_output_error() -> None:
    error = made_up_errors(TIED, TABLES)[DOWN]["q4_K"]
    gain = made_up_calibration(TIED).noise_gain[DOWN]
    assert cost(TIED, DOWN, "q4_K") == pytest.approx(gain * error.output)


def test_an_embedding_costs_its_gain_for_each_unit_of_row_error() -> None:
    error = made_up_errors(UNTIED, TABLES)[EMBEDDING]["q4_K"]
    gain = made_up_calibration(UNTIED).noise_gain[EMBEDDING]
    assert cost(UNTIED, EMBEDDING, "q4_K") == pytest.approx(gain * error.row)


def test_a_tied_embedding_costs_as_lookup_and_as_head() -> None:
    error, calibration = made_up_errors(TIED, TABLES)[EMBEDDING]["q4_K"], made_up_calibration(TIED)
    assert calibration.head_gain is not None
    lookup = calibration.noise_gain[EMBEDDING] * error.row
    head = calibration.head_gain * error.output
    assert cost(TIED, EMBEDDING, "q4_K") == pytest.approx(lookup + head)


def test_a_format_that_was_not_measured_scales_from_the_nearest_one() -> None:
    ratio = FORMATS["q4_0"].relative_rmse / FORMATS["iq4_xs"].relative_rmse
    assert cost(TIED, DOWN, "q4_0") == pytest.approx(cost(TIED, DOWN, "iq4_xs") * ratio**2)
    assert cost(TIED, DOWN, "f32") == 0


def test_the_caches_are_judged_by_the_static_priors() -> None:
    key, value = TABLES.kv_formats["q8_0"], TABLES.kv_formats["q4_0"]
    static = StaticSensitivity(TIED, TABLES)
    assert noise_of(TIED).caches.cost(key, value) == static.caches.cost(key, value)


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"noise_gain": {}}, "no noise gain of model.embed_tokens.weight"),
        ({"input_moments": {}}, "no input moments of model.embed_tokens.weight"),
        ({"head_gain": None}, "no gain of model.embed_tokens.weight as output head"),
    ],
)
def test_a_calibration_that_lacks_something_is_refused(
    changes: dict[str, object], complaint: str
) -> None:
    partial = replace(made_up_calibration(TIED), **changes)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=complaint):
        noise_of(TIED, partial)


def test_an_error_table_that_lacks_a_tensor_is_refused() -> None:
    errors = {name: row for name, row in made_up_errors(TIED, TABLES).items() if name != DOWN}
    with pytest.raises(InputError, match=f"error table lacks {DOWN}"):
        noise_of(TIED, errors=errors)


def test_a_plan_uses_formats_that_need_statistics_and_names_its_mode() -> None:
    plan = make_plan(EIGHT_B, Budget(512, target_bpw=2.6), TABLES, sensitivity=noise_of(EIGHT_B))
    assert plan.sensitivity == "noise"
    assert any(FORMATS[choice.format].needs_imatrix for choice in plan.tensors)
    assert plan.bits_per_weight <= 2.6


def test_the_tensor_with_the_greater_gain_gets_more_bits() -> None:
    calibration = made_up_calibration(TIED)
    gains = dict.fromkeys(calibration.noise_gain, 1e-6) | {DOWN: 1e-2}
    judge = noise_of(TIED, replace(calibration, noise_gain=gains))
    plan = make_plan(TIED, Budget(512, target_bpw=4.5), TABLES, sensitivity=judge)
    bits = {c.name: FORMATS[c.format].bits_per_weight for c in plan.tensors}
    alike = {t.name for t in TIED.tensors if t.role is Role.FFN_DOWN} - {DOWN}
    assert all(bits[DOWN] > bits[name] for name in alike)


def test_a_plan_by_noise_settles_to_itself() -> None:
    judge = noise_of(TIED)
    plan = make_plan(TIED, Budget(512, target_bpw=2.7), TABLES, sensitivity=judge)
    assert settle_plan(TIED, plan, TABLES, "plan.json", sensitivity=judge) == plan


@pytest.mark.parametrize("gib", [3.0, 4.5])
def test_an_8b_model_whose_tensors_all_differ_leaves_little_unused(gib: float) -> None:
    judge = noise_of(EIGHT_B)
    budget = Budget(4096, memory_bytes=int(gib * 2**30))
    plan = make_plan(EIGHT_B, budget, TABLES, sensitivity=judge, machine="x86_64")
    assert plan.budget_bytes - plan.memory.total_bytes < 2**20
