"""Decode time is a sum: of matrices read, of cache attended to, of layers and of the token."""

import json
from dataclasses import replace

import pytest

from edgellm.errors import FormatError, UnsupportedError
from edgellm.plan import KVPlan
from edgellm.quant_tables import load_tables
from edgellm.spec import Role
from edgellm.speed import LARGEST_WEIGHTS_BYTES, SMALLEST_WEIGHTS_BYTES, DecodeShape, DecodeSpeed
from tests.support.plans import fixed_plan
from tests.support.specs import make_spec

SPEC = make_spec(layers=3, hidden=256, ffn=512, heads=4, kv_heads=2, head_dim=64, vocab=1000)
# Of a layer: q, output, k and v, gate, up and down.
LAYER_WEIGHTS = 2 * 256 * 256 + 2 * 128 * 256 + 3 * 512 * 256
HEAD_WEIGHTS = 1000 * 256
SPEED = DecodeSpeed(
    threads=2,
    shape=DecodeShape.of(SPEC),
    weight_seconds={"q4_K": 2e-11, "q8_0": 5e-11},
    attention_seconds={"q8_0": {"q8_0": 3e-7, "q4_0": 4e-7}},
    layer_seconds=1e-5,
    token_seconds=2e-5,
    spread=0.05,
)


def test_a_token_takes_its_matrices_its_cache_and_the_fixed_part() -> None:
    formats = {t.name: "q8_0" if t.role is Role.TOKEN_EMBEDDING else "q4_K" for t in SPEC.tensors}
    weights = 3 * LAYER_WEIGHTS * 2e-11 + HEAD_WEIGHTS * 5e-11
    expected = weights + 3 * 100 * 4e-7 + 2e-5 + 3 * 1e-5
    assert SPEED.decode_seconds(SPEC, formats, "q8_0", "q4_0", 100) == pytest.approx(expected)


def test_a_plan_is_judged_with_half_its_context_full() -> None:
    plan = fixed_plan(SPEC, load_tables(), "q4_K")
    plan = replace(plan, kv=KVPlan("q8_0", "q8_0", 8.5, 400))
    weights = (3 * LAYER_WEIGHTS + HEAD_WEIGHTS) * 2e-11
    seconds = weights + 3 * 200 * 3e-7 + 2e-5 + 3 * 1e-5
    assert SPEED.tokens_per_s(SPEC, plan) == pytest.approx(1 / seconds)


def test_an_embedding_beside_a_head_of_its_own_costs_nothing() -> None:
    untied = make_spec(tied=False)
    by_role = {tensor.role: tensor for tensor in untied.tensors}
    assert SPEED.tensor_seconds(untied, by_role[Role.TOKEN_EMBEDDING], "q8_0") == 0
    assert SPEED.tensor_seconds(untied, by_role[Role.OUTPUT], "q8_0") == pytest.approx(
        HEAD_WEIGHTS * 5e-11
    )


def test_a_sliding_window_bounds_what_is_attended_to() -> None:
    windowed = replace(SPEC, sliding_window=50)
    assert SPEED.kv_seconds(windowed, "q8_0", "q8_0", 200) == pytest.approx(3 * 50 * 3e-7)
    assert SPEED.kv_seconds(windowed, "q8_0", "q8_0", 20) == pytest.approx(3 * 20 * 3e-7)


def test_formats_that_were_not_measured_are_refused_by_name() -> None:
    matrix = next(tensor for tensor in SPEC.tensors if tensor.role is Role.ATTN_Q)
    with pytest.raises(UnsupportedError, match="weight format q2_K; supported: q4_K, q8_0"):
        SPEED.tensor_seconds(SPEC, matrix, "q2_K")
    with pytest.raises(UnsupportedError, match="cache in q4_0/q8_0; supported: q8_0/q8_0"):
        SPEED.kv_seconds(SPEC, "q4_0", "q8_0", 1)


@pytest.mark.parametrize(
    ("hidden", "expected"),
    [(64, SMALLEST_WEIGHTS_BYTES), (512, 8 << 20), (8192, LARGEST_WEIGHTS_BYTES)],
)
def test_a_small_model_is_measured_at_its_own_size(hidden: int, expected: int) -> None:
    # q, k, v and output are hidden x hidden each; the feed forward adds 3 hidden x 2 hidden.
    spec = make_spec(
        layers=2, hidden=hidden, ffn=2 * hidden, heads=1, kv_heads=1, head_dim=hidden, vocab=64
    )
    assert DecodeShape.of(spec).weights_bytes == expected


def test_json_gives_back_the_same_speed() -> None:
    document = json.loads(json.dumps(SPEED.to_json()))
    assert DecodeSpeed.from_json(document, "speed.json") == SPEED


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weight_seconds": {"q4_K": -1.0}}, "weight_seconds.q4_K"),
        ({"threads": 0}, "threads"),
        ({"extra": 1}, "extra"),
        ({"attention_seconds": {"q8_0": 3}}, "attention_seconds.q8_0"),
    ],
)
def test_a_document_that_breaks_the_format_is_refused(
    change: dict[str, object], named: str
) -> None:
    with pytest.raises(FormatError, match=named):
        DecodeSpeed.from_json({**SPEED.to_json(), **change}, "speed.json")
