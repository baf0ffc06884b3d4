"""What is refused before llama.cpp could abort over it."""

from pathlib import Path

import pytest

from edgellm.errors import FormatError, UnsupportedError, UsageError
from edgellm.gguf_file import read_gguf
from edgellm.runtimes.llama_cpp.preconditions import (
    ModelFacts,
    allowed_kv_formats,
    check_tensors,
    choose_kv_formats,
    read_facts,
)
from tests.support.gguf import I32, STRING, Handmade, array, pair, string, tensor, u32

GOOD = {
    "embedding_length": 64,
    "block_count": 2,
    "context_length": 128,
    "attention.head_count": 2,
}


def facts_of(tmp_path: Path, *more: bytes, **numbers: int) -> ModelFacts:
    named = {key.replace("__", "."): value for key, value in numbers.items()}
    pairs = [u32(f"llama.{key}", value) for key, value in (GOOD | named).items() if value >= 0]
    name = pair("general.architecture", STRING, string("llama"))
    path = tmp_path / "facts.gguf"
    path.write_bytes(Handmade(pairs=(name, *pairs, *more)).to_bytes())
    return read_facts(read_gguf(path))


def heads_of(head_dim: int) -> ModelFacts:
    return ModelFacts("llama", 2, head_dim, head_dim, 128)


def test_head_size_is_the_width_over_the_heads_unless_it_is_given(tmp_path: Path) -> None:
    assert facts_of(tmp_path).key_head_dim == 32
    assert facts_of(tmp_path, attention__key_length=48).key_head_dim == 48


@pytest.mark.parametrize(
    "bad",
    [
        {"block_count": 0},
        {"block_count": 513},
        {"block_count": -1},
        {"embedding_length": 0},
        {"context_length": 0},
        {"attention__head_count": 0},
        {"attention__head_count_kv": 0},
        {"expert_count": 1025},
        {"expert_count": 4},
        {"expert_count": 4, "expert_used_count": 5},
        {"expert_used_count": 2},
    ],
)
def test_a_dimension_llama_cpp_would_abort_on_is_refused(
    bad: dict[str, int], tmp_path: Path
) -> None:
    with pytest.raises(FormatError, match=r"facts\.gguf: .*llama\."):
        facts_of(tmp_path, **bad)


def test_an_unknown_rope_scaling_is_refused(tmp_path: Path) -> None:
    scaling = pair("llama.rope.scaling.type", STRING, string("zigzag"))
    with pytest.raises(FormatError, match="zigzag"):
        facts_of(tmp_path, scaling)


def test_head_counts_per_layer_must_match_the_layers(tmp_path: Path) -> None:
    counts = array("llama.attention.head_count_kv", I32, 3, bytes([1, 0, 0, 0] * 3))
    with pytest.raises(FormatError, match="2 head counts"):
        facts_of(tmp_path, counts)


def test_one_part_of_a_split_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="--merge"):
        facts_of(tmp_path, u32("split.count", 3))


def test_a_file_without_architecture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bare.gguf"
    path.write_bytes(Handmade().to_bytes())
    with pytest.raises(FormatError, match=r"lacks general\.architecture"):
        read_facts(read_gguf(path))


@pytest.mark.parametrize("name", ["iq2_xxs", "q4_K", "", "Q8_0 "])
def test_a_kv_format_off_the_list_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(UsageError, match="known formats: f32, f16, bf16, q8_0"):
        choose_kv_formats(name, "f16", heads_of(64), on_gpu=False)


def test_the_list_is_what_does_not_abort() -> None:
    names = "f32 f16 bf16 q8_0 q5_1 q5_0 q4_1 q4_0 iq4_nl q2_0"
    assert sorted(allowed_kv_formats()) == sorted(names.split())


def test_a_format_whose_blocks_do_not_divide_the_heads_is_refused_with_those_that_do() -> None:
    with pytest.raises(UsageError, match=r"do not divide heads of 80; usable here: f32, f16, bf16"):
        choose_kv_formats("f16", "q8_0", heads_of(80), on_gpu=False)


@pytest.mark.parametrize(("head_dim", "expected"), [(64, "q8_0"), (80, "f16")])
def test_the_default_is_q8_0_where_heads_divide(head_dim: int, expected: str) -> None:
    formats = choose_kv_formats(None, None, heads_of(head_dim), on_gpu=False)
    assert (formats.key.name, formats.value.name) == (expected, expected)


def test_two_bit_cache_is_for_the_cpu() -> None:
    assert choose_kv_formats("q2_0", "q2_0", heads_of(64), on_gpu=False).key.ggml_type == 42
    with pytest.raises(UsageError, match="CPU only"):
        choose_kv_formats("q2_0", "q2_0", heads_of(64), on_gpu=True)


@pytest.mark.parametrize(
    ("shape", "ggml_type", "expected"),
    [
        ((32,), 1, "vector 'a' of ggml type 1; supported: f32"),
        ((32,), 8, "vector 'a' of ggml type 8; supported: f32"),
        ((32, 2), 24, "matrix 'a' of ggml type 24"),
        ((32, 2), 9, "matrix 'a' of ggml type 9"),
    ],
)
def test_a_tensor_llama_cpp_cannot_compute_with_is_refused(
    shape: tuple[int, ...], ggml_type: int, expected: str, tmp_path: Path
) -> None:
    path = tmp_path / "odd.gguf"
    odd = tensor("a", shape, ggml_type=ggml_type)
    path.write_bytes(Handmade(tensors=(odd,), data=bytes(1024)).to_bytes())
    with pytest.raises(UnsupportedError, match=expected):
        check_tensors(read_gguf(path))
