"""Specs compared with tiny checkpoints that transformers itself makes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import transformers
from numpy.typing import NDArray

from edgellm.checkpoint import open_checkpoint
from edgellm.families import FAMILIES, read_spec
from edgellm.spec import DType, ModelSpec, Role, RopeScaling
from tests.support.checkpoints import model_config, tensor_shapes, write_checkpoint, write_weights

SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 128,
    "max_position_embeddings": 1024,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 128,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", {}),
    "llama tied": ("llama", {"tie_word_embeddings": True}),
    "llama with as many kv heads as heads": ("llama", {"num_key_value_heads": 4}),
    "llama with one kv head": ("llama", {"num_key_value_heads": 1}),
    "llama with wide heads": ("llama", {"head_dim": 32}),
    "llama with biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "llama 3.1": ("llama", {"rope_parameters": LLAMA3}),
    "llama with linear scaling": ("llama", {"rope_parameters": LINEAR}),
    "mistral": ("mistral", {"sliding_window": None}),
    "mistral with a window": ("mistral", {"sliding_window": 256, "head_dim": 24}),
    "qwen2": ("qwen2", {}),
    "qwen2 tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2 with windows": (
        "qwen2",
        {"use_sliding_window": True, "sliding_window": 512, "max_window_layers": 1},
    ),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "qwen3 with its default head": ("qwen3", {}),
    "qwen3 with biases": ("qwen3", {"attention_bias": True, "tie_word_embeddings": True}),
}


def make(variant: str, folder: Path, **save: Any) -> tuple[Any, ModelSpec]:
    """A random model saved by transformers, and the spec read from its folder."""
    family, settings = VARIANTS[variant]
    config = transformers.AutoConfig.for_model(family, **{**SIZES, **settings})
    model = transformers.AutoModelForCausalLM.from_config(config)
    model.save_pretrained(folder, **save)
    return model, read_spec(open_checkpoint(folder))


def inverse_frequencies(spec: ModelSpec) -> NDArray[np.float64]:
    """The rotary frequencies a spec stands for, from the definition of each kind of scaling."""
    frequencies = spec.rope_theta ** -(np.arange(0, spec.head_dim, 2) / spec.head_dim)
    scaling = spec.rope_scaling
    if scaling is None:
        return np.asarray(frequencies)
    if scaling.kind == "linear":
        return np.asarray(frequencies / scaling.factor)
    turns = scaling.original_context * frequencies / (2 * math.pi)
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    kept = np.clip((turns - low) / (high - low), 0, 1)
    return np.asarray(frequencies * (kept + (1 - kept) / scaling.factor))


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_spec_describes_the_model_transformers_made(variant: str, tmp_path: Path) -> None:
    model, spec = make(variant, tmp_path)
    config = model.config
    assert (spec.layers, spec.hidden_size) == (config.num_hidden_layers, config.hidden_size)
    assert (spec.heads, spec.kv_heads) == (config.num_attention_heads, config.num_key_value_heads)
    assert spec.head_dim == model.model.layers[0].self_attn.head_dim
    assert spec.norm_epsilon == config.rms_norm_eps
    assert spec.tied_embeddings == config.tie_word_embeddings
    assert spec.parameters == sum(weight.numel() for weight in model.parameters())
    shapes = {name: tuple(weight.shape) for name, weight in model.named_parameters()}
    assert {tensor.name: tensor.shape for tensor in spec.tensors} == shapes
    frequencies = model.model.rotary_emb.inv_freq.double().numpy()
    np.testing.assert_allclose(inverse_frequencies(spec), frequencies, rtol=1e-6)


@pytest.mark.parametrize(
    ("variant", "window"),
    [
        ("mistral", None),
        ("mistral with a window", 256),
        ("qwen2 with windows", 512),
        ("qwen3", None),
    ],
)
def test_a_window_counts_only_where_a_layer_uses_it(
    variant: str, window: int | None, tmp_path: Path
) -> None:
    model, spec = make(variant, tmp_path)
    assert spec.sliding_window == model.config.sliding_window == window


@pytest.mark.parametrize("variant", ["llama", "qwen3 with biases"])
def test_sharded_bf16_weights_read_as_transformers_holds_them(variant: str, tmp_path: Path) -> None:
    family, settings = VARIANTS[variant]
    config = transformers.AutoConfig.for_model(family, **{**SIZES, **settings})
    model = transformers.AutoModelForCausalLM.from_config(config).bfloat16()
    model.save_pretrained(tmp_path, max_shard_size="40kB")
    checkpoint = open_checkpoint(tmp_path)
    assert len({tensor.path for tensor in checkpoint.stored.values()}) > 2
    spec = read_spec(checkpoint)
    weights = dict(model.named_parameters())
    for tensor in spec.tensors:
        assert tensor.dtype is DType.BF16
        rows = checkpoint.read_rows(tensor.name, 0, tensor.shape[0])
        assert (rows == weights[tensor.name].detach().float().numpy()).all()


def test_tensors_come_in_the_order_of_the_computation(tmp_path: Path) -> None:
    spec = read_spec(open_checkpoint(write_checkpoint(tmp_path, "qwen3")))
    roles = [tensor.role for tensor in spec.tensors]
    assert roles[0] is Role.TOKEN_EMBEDDING
    assert roles[-2:] == [Role.OUTPUT_NORM, Role.OUTPUT]
    layers = [tensor.layer for tensor in spec.tensors if tensor.layer is not None]
    assert layers == sorted(layers)
    assert roles[1 : len(layers) // 2 + 1] == roles[len(layers) // 2 + 1 : -2]


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("version", [4, 5])
def test_config_keys_of_transformers_4_and_5_mean_the_same(
    family: str, version: int, tmp_path: Path
) -> None:
    folder = write_checkpoint(tmp_path, family, transformers=version)
    spec = read_spec(open_checkpoint(folder))
    reference = transformers.AutoConfig.from_pretrained(folder)
    assert spec.rope_theta == reference.rope_parameters["rope_theta"] == 10000.0
    assert spec.rope_scaling is None
    expected = tensor_shapes(family, model_config(family))
    assert {tensor.name: tensor.shape for tensor in spec.tensors} == expected


@pytest.mark.parametrize("key", ["rope_type", "type"])
def test_scaling_as_transformers_4_writes_it(key: str, tmp_path: Path) -> None:
    scaling = {key: "llama3", **{k: v for k, v in LLAMA3.items() if not k.startswith("rope_")}}
    folder = write_checkpoint(tmp_path, transformers=4, rope_theta=500000, rope_scaling=scaling)
    spec = read_spec(open_checkpoint(folder))
    assert spec.rope_theta == 500000.0
    assert spec.rope_scaling == RopeScaling("llama3", 8.0, 1.0, 4.0, 128)


@pytest.mark.parametrize(
    ("family", "absent"),
    [
        ("llama", ("num_key_value_heads", "head_dim", "max_position_embeddings", "rms_norm_eps")),
        ("mistral", ("num_key_value_heads", "head_dim", "sliding_window", "hidden_act")),
        ("qwen2", ("num_key_value_heads", "head_dim", "rope_parameters", "tie_word_embeddings")),
        ("qwen3", ("num_key_value_heads", "head_dim", "max_position_embeddings")),
    ],
)
def test_absent_keys_mean_what_transformers_assumes(
    family: str, absent: tuple[str, ...], tmp_path: Path
) -> None:
    config = model_config(family, num_attention_heads=32, hidden_size=128)
    written = {key: value for key, value in config.items() if key not in absent}
    (tmp_path / "config.json").write_text(json.dumps(written))
    reference = transformers.AutoConfig.from_pretrained(tmp_path)
    head_dim = getattr(reference, "head_dim", None) or 4
    whole = reference.to_dict() | {"head_dim": head_dim}
    write_weights(
        tmp_path,
        {name: np.zeros(shape, np.float32) for name, shape in tensor_shapes(family, whole).items()},
    )
    spec = read_spec(open_checkpoint(tmp_path))
    assert (spec.kv_heads, spec.head_dim) == (reference.num_key_value_heads, head_dim)
    assert spec.context_length == reference.max_position_embeddings
    assert spec.norm_epsilon == reference.rms_norm_eps
    assert spec.sliding_window == getattr(reference, "sliding_window", None)


def test_each_family_has_a_row_and_a_file() -> None:
    import edgellm.families as package

    files = {path.stem for path in Path(package.__path__[0]).glob("*.py")}
    assert files >= FAMILIES.keys()
    assert all(name == family.name for name, family in FAMILIES.items())
