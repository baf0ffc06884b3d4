"""Model metadata: dimensions, rotary factors, sampling settings."""

import json
from dataclasses import replace
from pathlib import Path

import gguf
import numpy as np
import pytest

from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.metadata import add_model_metadata, rope_frequency_factors
from edgellm.errors import UnsupportedError
from edgellm.families import FAMILIES, read_spec
from edgellm.spec import ModelSpec, RopeScaling
from tests.support.checkpoints import write_checkpoint

LLAMA3 = RopeScaling("llama3", 8.0, 1.0, 4.0, 8192)


def metadata_of(folder: Path, spec: ModelSpec | None = None) -> dict[str, object]:
    checkpoint = open_checkpoint(folder)
    spec = spec or read_spec(checkpoint)
    writer = gguf.GGUFWriter(None, FAMILIES[spec.family].gguf_architecture)
    add_model_metadata(writer, spec, checkpoint)
    return {key: field.value for key, field in writer.kv_data[0].items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "tiny-llama")


def spec_of(folder: Path) -> ModelSpec:
    return read_spec(open_checkpoint(folder))


def test_dimensions_are_those_of_the_spec(folder: Path) -> None:
    metadata = metadata_of(folder)
    expected = {
        "general.architecture": "llama",
        "general.name": "tiny-llama",
        "llama.block_count": 2,
        "llama.context_length": 512,
        "llama.embedding_length": 256,
        "llama.feed_forward_length": 512,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 2,
        "llama.attention.key_length": 64,
        "llama.attention.value_length": 64,
        "llama.rope.dimension_count": 64,
        "llama.rope.freq_base": 10000.0,
        "llama.vocab_size": 512,
    }
    assert {key: metadata.get(key) for key in expected} == expected


def test_the_context_ends_where_a_sliding_window_would_matter(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "mistral", sliding_window=128)
    assert metadata_of(tmp_path)["llama.context_length"] == 128


@pytest.mark.parametrize("name", ["Phi-3-tiny", "my-phi3", "modern-bert-llama"])
def test_names_that_change_how_llama_cpp_tokenizes_are_left_out(name: str, folder: Path) -> None:
    assert "general.name" not in metadata_of(folder, replace(spec_of(folder), name=name))


def test_linear_scaling_is_a_factor(folder: Path) -> None:
    spec = replace(spec_of(folder), rope_scaling=RopeScaling("linear", 4.0))
    metadata = metadata_of(folder, spec)
    assert metadata["llama.rope.scaling.type"] == "linear"
    assert metadata["llama.rope.scaling.factor"] == 4.0
    assert rope_frequency_factors(spec) is None


@pytest.mark.parametrize(("head_dim", "theta"), [(64, 500_000.0), (128, 500_000.0), (64, 1e4)])
def test_llama3_factors_give_the_frequencies_of_transformers(
    head_dim: int, theta: float, folder: Path
) -> None:
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    scaling = {
        "rope_type": "llama3",
        "rope_theta": theta,
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
    }
    config = LlamaConfig(head_dim=head_dim, rope_parameters=scaling)
    expected = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")[0].numpy()
    spec = replace(spec_of(folder), head_dim=head_dim, rope_theta=theta, rope_scaling=LLAMA3)
    factors = rope_frequency_factors(spec)
    assert factors is not None
    assert factors.dtype == np.float32
    plain = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    np.testing.assert_allclose(plain / factors, expected, rtol=1e-6)


def test_llama3_scaling_is_refused_where_llama_cpp_ignores_it(tmp_path: Path) -> None:
    write_checkpoint(tmp_path, "qwen3")
    spec = replace(spec_of(tmp_path), rope_scaling=LLAMA3)
    with pytest.raises(UnsupportedError, match="rotary scaling 'llama3' in a Qwen3 model"):
        metadata_of(tmp_path, spec)


@pytest.mark.parametrize(
    ("generation", "expected"),
    [
        ({}, {}),
        ({"do_sample": False, "temperature": 0.7}, {"temp": 0.0}),
        (
            {"do_sample": True, "temperature": 0.7, "top_p": 0.9, "top_k": 50},
            {"temp": 0.7, "top_p": 0.9, "top_k": 50},
        ),
        (
            {"temperature": 1.0, "min_p": 0.05, "repetition_penalty": 1.1},
            {"temp": 1.0, "min_p": 0.05, "penalty_repeat": 1.1},
        ),
    ],
)
def test_sampling_settings_of_the_author_are_kept(
    generation: dict[str, object], expected: dict[str, object], folder: Path
) -> None:
    (folder / "generation_config.json").write_text(json.dumps(generation))
    prefix = "general.sampling."
    metadata = metadata_of(folder)
    found = {key.removeprefix(prefix): v for key, v in metadata.items() if key.startswith(prefix)}
    assert found == expected
