"""Plans edited by hand are brought in line with the model, or refused."""

from dataclasses import replace

import pytest

from edgellm.errors import FormatError
from edgellm.plan import Budget, Plan
from edgellm.planner import make_plan, settle_plan, uniform_plan
from edgellm.quant_tables import load_tables
from tests.support.specs import make_spec

TABLES = load_tables()
SPEC = make_spec()
PLAN = make_plan(SPEC, Budget(512, target_bpw=4.5), TABLES)


def with_format(plan: Plan, tensor: str, name: str) -> Plan:
    tensors = tuple(replace(t, format=name) if t.name == tensor else t for t in plan.tensors)
    return replace(plan, tensors=tensors)


def test_an_unchanged_plan_stays_as_it_is() -> None:
    assert settle_plan(SPEC, PLAN, TABLES, "plan.json") == PLAN


def test_an_edited_format_changes_every_figure_that_hangs_on_it() -> None:
    edited = with_format(PLAN, "model.layers.0.mlp.down_proj.weight", "f16")
    settled = settle_plan(SPEC, edited, TABLES, "plan.json")
    assert settled.bits_per_weight > PLAN.bits_per_weight
    assert settled.memory.weights_bytes > PLAN.memory.weights_bytes
    assert settled.memory.total_bytes > PLAN.memory.total_bytes


@pytest.mark.parametrize(
    ("tensor", "name", "complaint"),
    [
        ("model.norm.weight", "q8_0", "model.norm.weight has format q8_0; expected f32"),
        ("model.embed_tokens.weight", "q4_K_M", "has format q4_K_M; expected q2_K, q3_K"),
        ("model.embed_tokens.weight", "iq2_xs", "has format iq2_xs; expected q2_K, q3_K"),
    ],
)
def test_a_format_a_tensor_cannot_take_is_refused(tensor: str, name: str, complaint: str) -> None:
    with pytest.raises(FormatError, match=f"plan.json: .*{complaint}"):
        settle_plan(SPEC, with_format(PLAN, tensor, name), TABLES, "plan.json")


def test_a_format_that_does_not_divide_the_rows_is_refused() -> None:
    spec = make_spec(hidden=576)
    plan = uniform_plan(spec, "q4_K", Budget(512), TABLES)
    edited = with_format(plan, "model.layers.0.self_attn.q_proj.weight", "q4_K")
    with pytest.raises(FormatError, match="rows of 576 weights; q4_K needs a multiple of 256"):
        settle_plan(spec, edited, TABLES, "plan.json")


def test_a_plan_of_another_model_is_refused() -> None:
    with pytest.raises(FormatError, match=r"weights\.tensors are not those of made-up"):
        settle_plan(make_spec(layers=3), PLAN, TABLES, "plan.json")


@pytest.mark.parametrize("name", ["q2_K", "nothing"])
def test_a_cache_format_that_cannot_hold_the_heads_is_refused(name: str) -> None:
    edited = replace(PLAN, kv=replace(PLAN.kv, value_format=name))
    with pytest.raises(FormatError, match=f"kv.value_format is {name}"):
        settle_plan(SPEC, edited, TABLES, "plan.json")


@pytest.mark.parametrize(
    ("edited", "complaint"),
    [
        (replace(PLAN, engine="vllm"), r"plan\.json: engine 'vllm' is unknown"),
        (replace(PLAN, kv=replace(PLAN.kv, context=2**21)), r"plan\.json: a context of 2097152"),
    ],
)
def test_an_engine_or_context_that_cannot_be_is_refused(edited: Plan, complaint: str) -> None:
    with pytest.raises(FormatError, match=complaint):
        settle_plan(SPEC, edited, TABLES, "plan.json")
