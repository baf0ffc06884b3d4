"""Predicted bytes against llama.cpp's own plan of its buffers."""

import random
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.memory.compute_buffers import random_run, random_spec, ratios
from benchmarks.memory.dry_run import dry_run, write_hollow_gguf
from benchmarks.memory.overhead import growth, write_byte_level_gguf
from edgellm.memory import (
    RunSettings,
    compute_bytes,
    kv_cache_bytes,
    loading_bytes,
    memory_parts,
    overhead_bytes,
    resident_bytes,
    tensor_bytes,
)
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.spec import Role
from tests.support.specs import make_spec

TABLES = load_tables()
ENGINE = TABLES.engines["llama.cpp"]
Q8_0 = TABLES.kv_formats["q8_0"]
MIB = 2**20


@pytest.mark.parametrize("name", ["q4_K", "q3_K", "q8_0", "bf16"])
@pytest.mark.parametrize("hidden", [256, 576])
def test_tensor_bytes_are_what_llama_cpp_counts(tmp_path: Path, name: str, hidden: int) -> None:
    spec = make_spec(hidden=hidden, tied=False)
    plan = uniform_plan(spec, name, Budget(256), TABLES)
    write_hollow_gguf(tmp_path / "hollow.gguf", spec, plan, TABLES)
    run = RunSettings(Q8_0, Q8_0, 256, 512)
    stored_bytes = sum(tensor.bytes for tensor in plan.tensors)
    assert stored_bytes == dry_run(tmp_path / "hollow.gguf", run).weights_bytes


@pytest.mark.parametrize("seed", range(4))
def test_cache_bytes_are_what_llama_cpp_plans(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    spec = random_spec(rng)
    run = random_run(rng, spec, TABLES)
    plan = uniform_plan(spec, "f16", Budget(256), TABLES)
    write_hollow_gguf(tmp_path / "hollow.gguf", spec, plan, TABLES)
    planned_bytes = dry_run(tmp_path / "hollow.gguf", run).kv_cache_bytes
    # llama.cpp prints hundredths of a MiB.
    assert kv_cache_bytes(spec, run, ENGINE) == pytest.approx(planned_bytes, abs=0.006 * MIB)


def test_compute_buffers_are_never_underestimated_nor_much_over(tmp_path: Path) -> None:
    found = sorted(ratios(shapes=150, seed=3, scratch=tmp_path))
    assert found[0] >= 1
    assert found[len(found) // 2] < 1.1
    assert found[-1] < 2


def test_a_smaller_ubatch_takes_less_scratch() -> None:
    spec = make_spec(hidden=1024, ffn=4096)
    sizes = [
        compute_bytes(spec, RunSettings(Q8_0, Q8_0, 4096, ubatch), ENGINE)
        for ubatch in ENGINE.ubatches
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < sizes[0] / 4


def test_the_context_is_padded_as_the_engine_pads_it() -> None:
    spec = make_spec()
    one, full, more = (
        kv_cache_bytes(spec, RunSettings(Q8_0, Q8_0, context, 512), ENGINE)
        for context in (1, 256, 257)
    )
    assert one == full == more // 2


def test_vectors_stay_float32() -> None:
    norm = next(tensor for tensor in make_spec().tensors if not tensor.is_matrix)
    assert tensor_bytes(norm, TABLES.weight_formats["q4_K"]) == 4 * norm.elements


@pytest.mark.parametrize(
    ("tied", "name", "machine", "copies"),
    [
        (True, "q4_K", "x86_64", 2),
        (True, "q6_K", "x86_64", 1),
        (True, "q6_K", "arm64", 2),
        (False, "q4_K", "x86_64", 1),
    ],
)
def test_a_tied_embedding_is_kept_twice_where_its_format_is_rearranged(
    tied: bool, name: str, machine: str, copies: int
) -> None:
    spec = make_spec(tied=tied)
    fmt = TABLES.weight_formats[name]
    embedding = next(t for t in spec.tensors if t.role is Role.TOKEN_EMBEDDING)
    stored_bytes = ENGINE.padded_tensor_bytes(tensor_bytes(embedding, fmt))
    assert resident_bytes(spec, embedding, fmt, ENGINE, machine) == copies * stored_bytes


def test_overhead_grows_with_layers_and_vocabulary() -> None:
    small = overhead_bytes(make_spec(), ENGINE)
    more_tokens_bytes = overhead_bytes(make_spec(vocab=2000), ENGINE) - small
    assert overhead_bytes(make_spec(layers=12), ENGINE) - small == 10 * ENGINE.layer_bytes
    assert more_tokens_bytes == 1000 * ENGINE.byte_level_token_bytes


def test_the_reserve_is_a_part_of_its_own_in_the_overhead() -> None:
    without = replace(ENGINE, reserve_bytes=0)
    difference = overhead_bytes(make_spec(), ENGINE) - overhead_bytes(make_spec(), without)
    assert difference == ENGINE.reserve_bytes > 0


def test_what_only_loading_takes_counts_where_cache_and_scratch_do_not_cover_it() -> None:
    spec = make_spec(hidden=64, ffn=64, heads=1, kv_heads=1, vocab=200_000)
    engine = replace(ENGINE, prompt_token_bytes=0)
    few, many = (
        memory_parts(spec, 0, RunSettings(Q8_0, Q8_0, context, 32), engine)
        for context in (256, 2**17)
    )
    standing_bytes = overhead_bytes(spec, engine)
    assert few.total_bytes == standing_bytes + loading_bytes(spec, engine)
    assert many.overhead_bytes == standing_bytes


def test_a_prompt_is_held_outside_the_engine_too() -> None:
    short, long = (
        memory_parts(make_spec(), 0, RunSettings(Q8_0, Q8_0, context, 32), ENGINE)
        for context in (4096, 8192)
    )
    assert long.overhead_bytes - short.overhead_bytes == 4096 * ENGINE.prompt_token_bytes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("size", [3000, 20_000])
def test_a_vocabulary_takes_no_more_than_planned(tmp_path: Path, size: int) -> None:
    write_byte_level_gguf(tmp_path / "vocabulary.gguf", size)
    taken = growth(tmp_path / "vocabulary.gguf", "vocabulary")
    standing_bytes = ENGINE.byte_level_bytes + size * ENGINE.byte_level_token_bytes
    assert taken.standing_bytes <= standing_bytes
    assert taken.peak_bytes <= standing_bytes + size * ENGINE.token_loading_bytes
    assert taken.standing_bytes > standing_bytes / 2
