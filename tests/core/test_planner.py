"""Plans of random models inside random budgets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgellm.errors import BudgetError, UsageError
from edgellm.memory import resident_bytes, tensor_bytes
from edgellm.plan import Budget, Plan
from edgellm.planner import UBATCH_WORTH, make_plan, uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.spec import ModelSpec, Role
from tests.support.specs import make_spec

TABLES = load_tables()
ENGINE = TABLES.engines["llama.cpp"]
MACHINE = "x86_64"
MIB = 2**20
SPECS = st.builds(
    make_spec,
    layers=st.integers(1, 6),
    hidden=st.sampled_from([64, 96, 256, 512, 576, 1000]),
    ffn=st.sampled_from([128, 256, 768, 1504]),
    heads=st.sampled_from([2, 4]),
    kv_heads=st.sampled_from([1, 2]),
    head_dim=st.sampled_from([16, 64, 80]),
    vocab=st.sampled_from([300, 4096]),
    tied=st.booleans(),
)
CONTEXTS = st.sampled_from([1, 100, 512, 5000])
EIGHT_B = make_spec(
    layers=32, hidden=4096, ffn=14336, heads=32, kv_heads=8, head_dim=128, vocab=128256, tied=False
)


def plan_in(spec: ModelSpec, memory_bytes: int, context: int = 512) -> Plan:
    budget = Budget(context, memory_bytes=memory_bytes)
    return make_plan(spec, budget, TABLES, machine=MACHINE)


def least_bytes(spec: ModelSpec, context: int) -> int:
    with pytest.raises(BudgetError) as caught:
        plan_in(spec, 1, context)
    return caught.value.needed_bytes


def check_bytes(spec: ModelSpec, plan: Plan) -> None:
    """Every figure of the plan follows from its choices."""
    pairs = list(zip(spec.tensors, plan.tensors, strict=True))
    formats = TABLES.weight_formats
    for tensor, choice in pairs:
        assert choice.name == tensor.name
        assert choice.bytes == tensor_bytes(tensor, formats[choice.format])
    resident = sum(resident_bytes(spec, t, formats[c.format], ENGINE, MACHINE) for t, c in pairs)
    assert plan.memory.weights_bytes == resident
    assert plan.bits_per_weight == 8 * sum(c.bytes for _, c in pairs) / spec.parameters


@settings(max_examples=80, deadline=None)
@given(SPECS, CONTEXTS, st.floats(0, 4))
def test_a_plan_stays_inside_its_memory(spec: ModelSpec, context: int, ampleness: float) -> None:
    least = least_bytes(spec, context)
    budget_bytes = least + int(ampleness * least)
    plan = plan_in(spec, budget_bytes, context)
    assert plan.memory.total_bytes <= budget_bytes == plan.budget_bytes
    assert plan.to_json()["fits"] is True
    check_bytes(spec, plan)


@settings(max_examples=60, deadline=None)
@given(SPECS, CONTEXTS)
def test_the_reported_need_is_exact(spec: ModelSpec, context: int) -> None:
    least = least_bytes(spec, context)
    assert plan_in(spec, least, context).memory.total_bytes == least
    with pytest.raises(BudgetError):
        plan_in(spec, least - 1, context)


@settings(max_examples=60, deadline=None)
@given(SPECS, st.integers(1, 40))
def test_the_reported_largest_context_is_exact(spec: ModelSpec, steps: int) -> None:
    budget_bytes = least_bytes(spec, 256 * steps)
    with pytest.raises(BudgetError) as caught:
        plan_in(spec, budget_bytes, 256 * steps + 1)
    largest = caught.value.largest_context
    assert largest == 256 * steps
    assert plan_in(spec, budget_bytes, largest).kv.context == largest


@settings(max_examples=40, deadline=None)
@given(SPECS, st.lists(st.floats(0, 3), min_size=2, max_size=2))
def test_more_memory_predicts_no_worse_but_for_a_larger_ubatch(
    spec: ModelSpec, shares: list[float]
) -> None:
    least = least_bytes(spec, 512)
    less, more = (plan_in(spec, least + int(share * 20 * MIB)) for share in sorted(shares))
    worth = 1 + 1e-12 if less.ubatch == more.ubatch else UBATCH_WORTH
    assert more.predicted_kl_divergence is not None
    assert less.predicted_kl_divergence is not None
    assert more.predicted_kl_divergence <= less.predicted_kl_divergence * worth


@settings(max_examples=40, deadline=None)
@given(SPECS, st.floats(1, 16))
def test_the_achieved_bits_per_weight_stay_below_the_target(spec: ModelSpec, bpw: float) -> None:
    budget = Budget(256, target_bpw=bpw)
    least = uniform_least(spec)
    if least > bpw:
        with pytest.raises(BudgetError):
            make_plan(spec, budget, TABLES)
    else:
        assert make_plan(spec, budget, TABLES).bits_per_weight <= bpw


def uniform_least(spec: ModelSpec) -> float:
    """Bits per weight with every matrix as small as its rows allow."""
    formats = [fmt for fmt in TABLES.weight_formats.values() if fmt.plannable]
    least = 0
    for tensor in spec.tensors:
        rows = [TABLES.format_for_rows(f.name, tensor.shape[-1]) for f in formats]
        usable = [fmt for fmt in rows if not fmt.needs_imatrix]
        least += min(tensor_bytes(tensor, fmt) for fmt in usable)
    return 8 * least / spec.parameters


def test_a_target_is_nearly_reached() -> None:
    for bpw in (3.0, 3.7, 4.5, 6.0):
        plan = make_plan(EIGHT_B, Budget(2048, target_bpw=bpw), TABLES)
        assert bpw - 0.01 < plan.bits_per_weight <= bpw


def test_every_cap_holds_when_several_are_given() -> None:
    spec = make_spec(layers=8, hidden=512, ffn=1536)
    caps = Budget(512, memory_bytes=200 * MIB, weights_bytes=9 * MIB, target_bpw=3.9)
    plan = make_plan(spec, caps, TABLES)
    assert plan.memory.total_bytes <= 200 * MIB
    assert plan.memory.weights_bytes <= 9 * MIB
    assert plan.bits_per_weight <= 3.9


def test_ample_memory_gives_q8_0_throughout() -> None:
    plan = plan_in(EIGHT_B, 40 * 2**30, 8192)
    assert {choice.format for choice in plan.tensors} == {"q8_0", "f32"}
    assert (plan.kv.key_format, plan.kv.value_format, plan.ubatch) == ("q8_0", "q8_0", 512)


def test_ample_memory_keeps_the_finest_caches_and_scarce_memory_does_not() -> None:
    least = least_bytes(EIGHT_B, 32768)
    assert plan_in(EIGHT_B, least, 32768).kv.bits_per_element == 4.5
    assert plan_in(EIGHT_B, 24 * 2**30, 32768).kv.key_format == "q8_0"


def test_the_ubatch_shrinks_where_memory_is_scarce() -> None:
    roomy = plan_in(EIGHT_B, 8 * 2**30)
    assert plan_in(EIGHT_B, least_bytes(EIGHT_B, 512)).ubatch < roomy.ubatch


def test_heads_that_blocks_do_not_divide_keep_a_float16_cache() -> None:
    plan = make_plan(make_spec(head_dim=80), Budget(512), TABLES)
    assert (plan.kv.key_format, plan.kv.value_format) == ("f16", "f16")


def test_rows_that_do_not_divide_take_formats_that_fit() -> None:
    plan = make_plan(make_spec(hidden=576), Budget(512, target_bpw=5.2), TABLES)
    spec = make_spec(hidden=576)
    for tensor, choice in zip(spec.tensors, plan.tensors, strict=True):
        assert TABLES.weight_formats[choice.format].divides(tensor.shape[-1])


def test_no_tensor_takes_a_format_that_needs_statistics() -> None:
    plan = make_plan(EIGHT_B, Budget(512, target_bpw=2.8), TABLES)
    used = {TABLES.weight_formats[choice.format] for choice in plan.tensors}
    assert not any(fmt.needs_imatrix for fmt in used)


def test_the_head_and_the_embedding_get_more_bits_than_the_middle() -> None:
    plan = make_plan(EIGHT_B, Budget(2048, target_bpw=3.5), TABLES)
    bits = {
        (tensor.role, tensor.layer): TABLES.weight_formats[choice.format].bits_per_weight
        for tensor, choice in zip(EIGHT_B.tensors, plan.tensors, strict=True)
    }
    assert bits[Role.OUTPUT, None] > bits[Role.FFN_UP, 16]
    assert bits[Role.FFN_DOWN, 0] > bits[Role.FFN_DOWN, 16]


def test_the_same_question_has_the_same_answer() -> None:
    assert plan_in(EIGHT_B, 5 * 2**30) == plan_in(EIGHT_B, 5 * 2**30)


def test_the_refusal_says_what_is_missing_on_one_line() -> None:
    with pytest.raises(BudgetError) as caught:
        plan_in(EIGHT_B, 2 * 2**30, 8192)
    error = caught.value
    text = str(error)
    assert "\n" not in text
    for part in ("weights", "KV cache", "compute buffers", "overhead", "2.00 GiB", "of memory"):
        assert part in text
    assert sum(error.parts.values()) == 2 * error.needed_bytes  # the parts and their total
    assert error.largest_context == 0


def test_the_suggested_memory_suffices() -> None:
    with pytest.raises(BudgetError) as caught:
        plan_in(EIGHT_B, 4 * 2**30, 65536)
    suggested = int(str(caught.value).split("Give ")[1].split("MiB")[0])
    assert plan_in(EIGHT_B, suggested * MIB, 65536).memory.total_bytes <= suggested * MIB


@pytest.mark.parametrize(
    ("budget", "complaint"),
    [
        (Budget(512, weights_bytes=MIB), "cap on the memory of the weights allows 1.00 MiB"),
        (
            Budget(512, target_bpw=1.5),
            r"cap on bits per weight allows .* \(1.50\).*Make that cap 2.63",
        ),
    ],
)
def test_a_cap_below_the_smallest_weights_is_refused(budget: Budget, complaint: str) -> None:
    with pytest.raises(BudgetError, match=complaint):
        make_plan(EIGHT_B, budget, TABLES)


@pytest.mark.parametrize(
    ("context", "complaint"),
    [
        (0, "at least 1"),
        (4097, "4097 tokens .* context length is 4096"),
        (2000, "2000 tokens .* sliding window of made-up, 1024 tokens"),
    ],
)
def test_contexts_the_model_was_not_made_for_are_refused(context: int, complaint: str) -> None:
    spec = make_spec(context_length=4096, sliding_window=1024)
    with pytest.raises(UsageError, match=complaint):
        make_plan(spec, Budget(context), TABLES)


def test_two_caps_that_exclude_each_other_are_refused() -> None:
    # On x86-64 a tied q2_K embedding is kept twice, so q3_K is the smaller one once loaded.
    spec = make_spec(vocab=40000, layers=1)
    tight_bpw = uniform_least(spec) + 0.001
    file_bytes = uniform_plan(spec, "q3_K", Budget(256), TABLES).memory.weights_bytes
    with pytest.raises(BudgetError, match="but not both"):
        make_plan(
            spec,
            Budget(256, weights_bytes=file_bytes, target_bpw=tight_bpw),
            TABLES,
            machine=MACHINE,
        )


def test_an_unknown_engine_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"'vllm' is unknown; engines: llama.cpp"):
        make_plan(EIGHT_B, Budget(512), TABLES, engine="vllm")


@pytest.mark.parametrize("name", ["f16", "bf16", "f32", "q4_K", "q8_0", "mxfp4"])
def test_a_uniform_plan_gives_every_matrix_one_format(name: str) -> None:
    spec = make_spec()
    plan = uniform_plan(spec, name, Budget(512), TABLES)
    found = {c.format for t, c in zip(spec.tensors, plan.tensors, strict=True) if t.is_matrix}
    assert found == {name}
    assert plan.sensitivity == "uniform"
    assert plan.budget_bytes == plan.memory.total_bytes


def test_a_uniform_plan_uses_fallbacks_and_keeps_to_the_budget() -> None:
    spec = make_spec(hidden=576, ffn=1536)
    plan = uniform_plan(spec, "Q4_K", Budget(512), TABLES)
    assert {choice.format for choice in plan.tensors} == {"q4_K", "q5_0", "f32"}
    with pytest.raises(BudgetError):
        uniform_plan(spec, "q4_K", Budget(512, memory_bytes=MIB), TABLES)


def test_a_format_that_needs_statistics_is_refused() -> None:
    with pytest.raises(UsageError, match="iq2_xxs needs measured input statistics; formats"):
        uniform_plan(make_spec(), "iq2_xxs", Budget(512), TABLES)
