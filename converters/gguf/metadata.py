"""Everything a GGUF says about a model besides its tokens and weights."""

import math
from importlib.metadata import version

import gguf
import numpy as np
from numpy.typing import NDArray

from edgellm.checkpoint import Checkpoint, GenerationConfig
from edgellm.errors import UnsupportedError
from edgellm.families import FAMILIES
from edgellm.spec import ModelSpec, RopeScaling

# llama.cpp changes how special tokens are found when it meets these in general.name.
_NAMES_WITH_EFFECTS = ("phi-3", "phi3", "modern-bert")
_ROPE_FACTORS_ARCHITECTURE = "llama"  # of ours, the only one where llama.cpp reads rope_freqs


def add_model_metadata(writer: gguf.GGUFWriter, spec: ModelSpec, checkpoint: Checkpoint) -> None:
    """Add dimensions, rotary settings, provenance and the author's sampling settings.

    Raises UnsupportedError for rotary scaling that llama.cpp ignores in this architecture.
    """
    _add_general(writer, spec)
    _add_dimensions(writer, spec)
    _add_rope(writer, spec)
    _add_sampling(writer, checkpoint.generation_config)


def rope_frequency_factors(spec: ModelSpec) -> NDArray[np.float32] | None:
    """What llama.cpp divides each rotary frequency by: [head_dim / 2]; None unless "llama3".

    As transformers' _compute_llama3_parameters: long wavelengths by `factor`, short ones by 1,
    those between by a blend.
    """
    scaling = spec.rope_scaling
    if scaling is None or scaling.kind != "llama3":
        return None
    exponents = np.arange(0, spec.head_dim, 2, dtype=np.float64) / spec.head_dim
    wavelengths = 2 * math.pi * spec.rope_theta**exponents
    return _llama3_factors(wavelengths, scaling).astype(np.float32)


def _llama3_factors(wavelengths: NDArray[np.float64], scaling: RopeScaling) -> NDArray[np.float64]:
    low, high = scaling.low_freq_factor, scaling.high_freq_factor
    smooth = (scaling.original_context / wavelengths - low) / (high - low)
    blend = np.clip(smooth, 0, 1)
    return 1 / ((1 - blend) / scaling.factor + blend)


def _add_general(writer: gguf.GGUFWriter, spec: ModelSpec) -> None:
    writer.add_type(gguf.GGUFType.MODEL)
    if not any(part in spec.name.lower() for part in _NAMES_WITH_EFFECTS):
        # A folder's name may be no Unicode at all.
        writer.add_name(spec.name.encode("utf-8", "replace").decode("utf-8"))
    writer.add_string("edgellm.version", version("edgellm"))
    writer.add_string("edgellm.family", spec.family)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _add_dimensions(writer: gguf.GGUFWriter, spec: ModelSpec) -> None:
    writer.add_block_count(spec.layers)
    # llama.cpp has no sliding window in these architectures; up to there it makes no difference.
    writer.add_context_length(min(spec.context_length, spec.sliding_window or spec.context_length))
    writer.add_embedding_length(spec.hidden_size)
    writer.add_feed_forward_length(spec.ffn_size)
    writer.add_head_count(spec.heads)
    writer.add_head_count_kv(spec.kv_heads)
    writer.add_key_length(spec.head_dim)
    writer.add_value_length(spec.head_dim)
    writer.add_layer_norm_rms_eps(spec.norm_epsilon)
    writer.add_vocab_size(spec.vocab_size)


def _add_rope(writer: gguf.GGUFWriter, spec: ModelSpec) -> None:
    writer.add_rope_dimension_count(spec.head_dim)
    writer.add_rope_freq_base(spec.rope_theta)
    scaling = spec.rope_scaling
    if scaling is None:
        return
    if scaling.kind == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(scaling.factor)
    elif FAMILIES[spec.family].gguf_architecture != _ROPE_FACTORS_ARCHITECTURE:
        raise UnsupportedError(
            f"rotary scaling {scaling.kind!r} in a {FAMILIES[spec.family].title} model",
            ("linear",),
        )


def _add_sampling(writer: gguf.GGUFWriter, generation: GenerationConfig) -> None:
    """The keys under general.sampling that llama.cpp's own tools take as defaults."""
    greedy = generation.do_sample is False
    temperature = 0.0 if greedy else generation.temperature
    if temperature is not None:
        writer.add_sampling_temp(temperature)
    if generation.top_k is not None:
        writer.add_sampling_top_k(generation.top_k)
    if generation.top_p is not None:
        writer.add_sampling_top_p(generation.top_p)
    if generation.min_p is not None:
        writer.add_sampling_min_p(generation.min_p)
    if generation.repetition_penalty is not None:
        writer.add_sampling_penalty_repeat(generation.repetition_penalty)
