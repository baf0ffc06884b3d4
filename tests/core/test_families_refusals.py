"""Checkpoints that are something else, or whose config.json does not fit their tensors."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgellm.checkpoint import open_checkpoint
from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.families import FAMILIES, read_spec
from edgellm.spec import ModelSpec, Role
from tests.support.checkpoints import model_config, random_tensors, write_checkpoint, write_weights

TINY: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "head_dim": 8,
    "vocab_size": 64,
    "num_hidden_layers": 1,
}


def rewrite(folder: Path, **changes: Any) -> None:
    """Change keys of config.json under tensors that stay; ... removes a key."""
    path = folder / "config.json"
    config = {**json.loads(path.read_text()), **changes}
    kept = {key: value for key, value in config.items() if value is not ...}
    path.write_text(json.dumps(kept))


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        read_spec(open_checkpoint(folder))
    text = str(caught.value)
    assert text.isprintable()
    assert str(folder) in text
    return text


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "no width": ({"hidden_size": 0}, "hidden_size is 0"),
    "negative width": ({"hidden_size": -1}, "hidden_size is -1"),
    "absurd width": ({"hidden_size": 2**40}, "hidden_size is 1099511627776"),
    "a width as text": ({"hidden_size": "32"}, "hidden_size is '32'"),
    "a width of true": ({"hidden_size": True}, "hidden_size is True"),
    "a missing width": ({"hidden_size": ...}, "hidden_size is missing"),
    "a million layers": ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000"),
    "no heads": ({"num_attention_heads": 0}, "num_attention_heads is 0"),
    "kv heads that do not divide": ({"num_key_value_heads": 3}, "not a multiple of"),
    "heads that do not divide": ({"num_attention_heads": 6, "head_dim": None}, "not a multiple of"),
    "an odd head": ({"head_dim": 7}, "need it even"),
    "another vocabulary": ({"vocab_size": 65}, "vocab_size, hidden_size"),
    "other heads": ({"head_dim": 16}, r"heads \* head_dim"),
    "another layer count": ({"num_hidden_layers": 2}, r"model\.layers\.1\.\S+ and 8 more missing"),
    "a context of 0": ({"max_position_embeddings": 0}, "max_position_embeddings is 0"),
    "an epsilon of infinity": ({"rms_norm_eps": 10**400}, "rms_norm_eps is 1000"),
    "another activation": ({"hidden_act": "gelu"}, "hidden_act 'gelu'.*supported: silu"),
    "tied as text": ({"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no'"),
    "rope below zero": ({"rope_parameters": {"rope_theta": -1}}, r"rope_parameters\.rope_theta"),
    "rope of text": ({"rope_parameters": "default"}, "rope_parameters is 'default'"),
    "two thetas": ({"rope_theta": 5e5}, "rope_theta 500000 and rope_parameters.rope_theta 10000"),
    "two scalings": (
        {"rope_scaling": {"type": "linear", "factor": 2}},
        "rope_parameters and rope_scaling contradict",
    ),
    "yarn": ({"rope_parameters": {"rope_type": "yarn", "factor": 4}}, "'yarn'.*default, linear"),
    "dynamic": ({"rope_scaling": {"type": "dynamic", "factor": 4}}, "'dynamic'.*llama3"),
    "longrope": ({"rope_scaling": {"type": "longrope", "factor": 4}}, "'longrope'"),
    "linear without a factor": ({"rope_scaling": {"type": "linear"}}, "factor is missing"),
    "llama3 without its bounds": (
        {"rope_scaling": {"type": "llama3", "factor": 8}},
        "low_freq_factor is missing",
    ),
    "llama3 with crossed bounds": (
        {
            "rope_scaling": {
                "type": "llama3",
                "factor": 8,
                "low_freq_factor": 4,
                "high_freq_factor": 4,
            }
        },
        "high_freq_factor is 4",
    ),
    "half-rotated heads": ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5"),
    "rope by layer type": (
        {"rope_parameters": {"full_attention": {"rope_theta": 1e4}}},
        "full_attention",
    ),
    "an end token out of range": ({"eos_token_id": [2, 64]}, "eos_token_id 64 is outside"),
    "another model": ({"model_type": "gemma3"}, "'gemma3'.*Llama.*Mistral.*Qwen2.*Qwen3"),
    "a multimodal model": ({"model_type": "llava", "text_config": {}}, "multimodal"),
    "a model type of text and more": ({"model_type": ["llama"]}, "model_type is"),
    "no model type at all": ({"model_type": ..., "architectures": ...}, "model_type is missing"),
    "a classifier": (
        {"architectures": ["LlamaForSequenceClassification"]},
        "LlamaForSequenceClassification.*LlamaForCausalLM",
    ),
    "a base model": ({"architectures": ["LlamaModel"]}, "'LlamaModel'"),
    "an architecture of another family": ({"architectures": ["Qwen3ForCausalLM"]}, "'Qwen3For"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_config_that_lies_is_refused_by_the_field(lie: str, tmp_path: Path) -> None:
    changes, problem = LIES[lie]
    folder = write_checkpoint(tmp_path, **TINY)
    rewrite(folder, **changes)
    with pytest.raises(InputError, match=problem) as caught:
        read_spec(open_checkpoint(folder))
    assert str(caught.value).isprintable()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=5,
)
KEYS = st.sampled_from(sorted({*model_config("qwen2"), *model_config("llama", transformers=4)}))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.dictionaries(KEYS, JSON, min_size=1, max_size=3),
    family=st.sampled_from(sorted(FAMILIES)),
)
def test_no_config_raises_anything_else(
    changes: dict[str, Any], family: str, tmp_path: Path
) -> None:
    folder = tmp_path / family
    if not folder.exists():
        write_checkpoint(folder, family, **TINY)
    config = {**model_config(family, **TINY), **changes}
    (folder / "config.json").write_text(json.dumps(config))
    with suppress(InputError):
        assert spec_of(folder).parameters > 0


def with_tensors(
    folder: Path, changes: dict[str, Any], family: str = "llama", **config: Any
) -> Path:
    """A checkpoint with tensors added, replaced or (None) left out."""
    write_checkpoint(folder, family, **{**TINY, **config})
    arrays = {**random_tensors(family, model_config(family, **{**TINY, **config}), 0), **changes}
    write_weights(folder, {name: a for name, a in arrays.items() if a is not None})
    return folder


def spec_of(folder: Path) -> ModelSpec:
    return read_spec(open_checkpoint(folder))


VECTOR = np.zeros(32, np.float32)


def test_a_missing_tensor_is_named(tmp_path: Path) -> None:
    folder = with_tensors(tmp_path, {"model.norm.weight": None})
    assert "tensor model.norm.weight missing" in refusal(folder)


def test_a_missing_head_is_named_when_embeddings_are_not_tied(tmp_path: Path) -> None:
    assert "lm_head.weight missing" in refusal(with_tensors(tmp_path, {"lm_head.weight": None}))


def test_an_unexpected_tensor_is_named(tmp_path: Path) -> None:
    folder = with_tensors(tmp_path, {"model.layers.0.self_attn.rotary.scale": VECTOR})
    assert "'model.layers.0.self_attn.rotary.scale' is not part of this Llama" in refusal(folder)


def test_a_layer_beyond_the_configs_count_is_refused(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, **{**TINY, "num_hidden_layers": 2})
    rewrite(folder, num_hidden_layers=1)
    assert "'model.layers.1." in refusal(folder)


def test_a_bias_that_the_config_does_not_switch_on_is_refused(tmp_path: Path) -> None:
    folder = with_tensors(tmp_path, {"model.layers.0.self_attn.o_proj.bias": VECTOR})
    assert "config.json does not set attention_bias" in refusal(folder)


def test_a_tensor_of_another_rank_is_refused(tmp_path: Path) -> None:
    folder = with_tensors(tmp_path, {"model.norm.weight": np.zeros((1, 32), np.float32)})
    assert "model.norm.weight is [1, 32]; config.json makes it [32] (hidden_size)" in refusal(
        folder
    )


def test_weights_of_the_base_model_are_refused_by_their_prefix(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, **TINY)
    arrays = random_tensors("llama", model_config("llama", **TINY), 0)
    write_weights(folder, {name.removeprefix("model."): a for name, a in arrays.items()})
    assert "lack the prefix 'model.'" in refusal(folder)


def test_old_rotary_buffers_are_ignored_with_a_notice(tmp_path: Path) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    spec = spec_of(with_tensors(tmp_path, {name: np.zeros(4, np.float32)}))
    assert name not in {tensor.name for tensor in spec.tensors}
    assert len(spec.notices) == 1
    assert "rotary_emb.inv_freq: ignored" in spec.notices[0]


def table(seed: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(seed).standard_normal((64, 32), dtype=np.float32)


def test_a_tied_head_that_is_stored_twice_is_left_out(tmp_path: Path) -> None:
    both = {"lm_head.weight": table(1), "model.embed_tokens.weight": table(1)}
    spec = spec_of(with_tensors(tmp_path, both, tie_word_embeddings=True))
    assert spec.tied_embeddings
    assert "lm_head.weight: ignored" in spec.notices[0]


def test_a_head_that_differs_is_kept_although_the_config_ties_it(tmp_path: Path) -> None:
    both = {"lm_head.weight": table(1), "model.embed_tokens.weight": table(2)}
    spec = spec_of(with_tensors(tmp_path, both, tie_word_embeddings=True))
    assert not spec.tied_embeddings
    assert spec.tensors[-1].name == "lm_head.weight"
    assert "differs" in spec.notices[0]


def test_a_tied_model_may_store_only_its_head(tmp_path: Path) -> None:
    only = {"lm_head.weight": table(1), "model.embed_tokens.weight": None}
    spec = spec_of(with_tensors(tmp_path, only, tie_word_embeddings=True))
    assert spec.tied_embeddings
    assert spec.tensors[0].name == "lm_head.weight"
    assert spec.tensors[0].role is Role.TOKEN_EMBEDDING


def test_a_tied_model_without_either_table_is_refused(tmp_path: Path) -> None:
    folder = with_tensors(tmp_path, {"model.embed_tokens.weight": None}, tie_word_embeddings=True)
    assert "model.embed_tokens.weight missing" in refusal(folder)


@pytest.mark.parametrize(
    ("changes", "problem", "error"),
    [
        ({"layer_types": ["full_attention"] * 2}, "layer_types lists 2 of 1 layers", FormatError),
        ({"layer_types": ["linear_attention"]}, "'linear_attention'", UnsupportedError),
        ({"layer_types": ["sliding_attention"]}, "use_sliding_window is not true", FormatError),
        ({"use_sliding_window": True, "max_window_layers": -1}, "max_window_layers", FormatError),
        (
            {"use_sliding_window": True, "max_window_layers": 0, "sliding_window": 0},
            "sliding_window is 0",
            FormatError,
        ),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(
    changes: dict[str, Any], problem: str, error: type[InputError], tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path, "qwen2", **TINY)
    rewrite(folder, **changes)
    with pytest.raises(error, match=problem):
        spec_of(folder)


def test_layer_types_decide_which_layers_have_a_window(tmp_path: Path) -> None:
    folder = write_checkpoint(tmp_path, "qwen3", **TINY)
    windows = {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}
    rewrite(folder, **windows, layer_types=["full_attention"])
    assert spec_of(folder).sliding_window is None
    rewrite(folder, **windows, layer_types=["sliding_attention"])
    assert spec_of(folder).sliding_window == 16
