"""Plans as JSON: exact round trips, and hand edits that make no sense."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgellm.errors import FormatError
from edgellm.plan import KVPlan, MemoryParts, Plan, TensorChoice

COUNTS = st.integers(0, 2**50)
NAMES = st.text(min_size=1, max_size=20)
NUMBERS = st.floats(0, 1e6)
PLANS = st.builds(
    Plan,
    engine=NAMES,
    budget_bytes=COUNTS,
    ubatch=st.integers(1, 4096),
    memory=st.builds(MemoryParts, COUNTS, COUNTS, COUNTS, COUNTS),
    tensors=st.lists(
        st.builds(TensorChoice, NAMES, NAMES, COUNTS), unique_by=lambda choice: choice.name
    ).map(tuple),
    bits_per_weight=NUMBERS,
    kv=st.builds(KVPlan, NAMES, NAMES, NUMBERS, st.integers(1, 2**31)),
    sensitivity=NAMES,
    predicted_kl_divergence=st.none() | NUMBERS,
    predicted_tokens_per_s=st.none() | NUMBERS,
)
PLAN = Plan(
    engine="llama.cpp",
    budget_bytes=100,
    ubatch=512,
    memory=MemoryParts(40, 30, 20, 5),
    tensors=(TensorChoice("a", "q4_K", 30), TensorChoice("b", "f32", 10)),
    bits_per_weight=4.6,
    kv=KVPlan("q8_0", "q4_0", 6.5, 2048),
    sensitivity="static",
    predicted_kl_divergence=0.01,
    predicted_tokens_per_s=None,
)


@given(PLANS)
def test_a_plan_survives_json_exactly(plan: Plan) -> None:
    text = json.dumps(plan.to_json())
    assert Plan.from_json(json.loads(text), "plan.json") == plan


def test_the_keys_are_those_of_the_command_line() -> None:
    document = PLAN.to_json()
    assert document["fits"] is True
    assert document["memory"]["total_bytes"] == 95
    assert document["weights"]["tensors"][0] == {"name": "a", "format": "q4_K", "bytes": 30}
    assert set(document["kv"]) == {"key_format", "value_format", "bits_per_element", "context"}
    assert document["predicted"] == {"kl_divergence": 0.01, "tokens_per_s": None}


def edit(path: tuple[str | int, ...], value: Any) -> Any:
    """PLAN's JSON with one field set, or removed when value is `edit`."""
    document = copy.deepcopy(PLAN.to_json())
    place: Any = document
    for step in path[:-1]:
        place = place[step]
    if value is edit:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


@pytest.mark.parametrize(
    ("path", "value", "complaint"),
    [
        (("engine",), 7, "engine is 7; expected text"),
        (("engine",), edit, "engine is missing"),
        (("budget_bytes",), -1, "budget_bytes is -1; expected an integer of at least 0"),
        (("budget_bytes",), 1.5, "budget_bytes is 1.5"),
        (("budget_bytes",), 10**400, "budget_bytes is 1000"),
        (("ubatch",), 0, "ubatch is 0; expected an integer of at least 1"),
        (("ubatch",), True, "ubatch is True"),
        (("memory",), [], r"memory is \[\]; expected an object"),
        (("memory", "total_bytes"), 94, "memory.total_bytes is not the sum of its parts, 95"),
        (("memory", "gpu_bytes"), 0, "memory.gpu_bytes is unknown"),
        (("weights", "tensors"), {}, "weights.tensors is {}; expected a list"),
        (("weights", "tensors", 1, "name"), "a", "weights.tensors names a twice"),
        (("weights", "tensors", 1, "bytes"), "9", r"weights.tensors\[1\].bytes is '9'"),
        (("weights", "tensors", 0), "q4_K", r"weights.tensors\[0\] is 'q4_K'; expected an object"),
        (("weights", "bits_per_weight"), float("nan"), "weights.bits_per_weight is nan"),
        (("weights", "bits_per_weight"), 10**400, "weights.bits_per_weight is 1000"),
        (("kv", "context"), 0, "kv.context is 0"),
        (("kv", "key_format"), "", "kv.key_format is ''; expected text"),
        (("predicted", "kl_divergence"), "low", "predicted.kl_divergence is 'low'"),
        (("predicted", "speed"), 1, "predicted.speed is unknown"),
        (("fits",), False, "fits contradicts"),
        (("fits",), "yes", "fits is 'yes'; expected true or false"),
    ],
)
def test_a_hand_edit_that_makes_no_sense_is_refused_by_field(
    path: tuple[str | int, ...], value: object, complaint: str
) -> None:
    with pytest.raises(FormatError, match=complaint) as caught:
        Plan.from_json(edit(path, value), "plan.json")
    assert str(caught.value).startswith("plan.json: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("document", [None, 3, "plan", [1], {}])
def test_a_document_that_is_no_plan_is_refused(document: object) -> None:
    with pytest.raises(FormatError):
        Plan.from_json(document, "plan.json")
