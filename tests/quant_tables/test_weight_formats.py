"""Every row of the format tables against ggml's own functions."""

import numpy as np
import pytest
from llama_cpp.llama_cpp import GGML_TYPE_COUNT

from edgellm.converters.gguf.ggml import load_ggml
from edgellm.formats import KVFormat, WeightFormat
from edgellm.quant_tables import load_tables

TABLES = load_tables()


@pytest.mark.parametrize("row", TABLES.weight_formats.values(), ids=lambda row: row.name)
def test_weight_row_has_ggmls_name_and_block(row: WeightFormat) -> None:
    ggml = load_ggml()
    assert ggml.type_name(row.ggml_type) == row.name
    assert ggml.block(row.ggml_type) == row.block
    assert ggml.block_bytes(row.ggml_type) == row.block_bytes


@pytest.mark.parametrize("row", TABLES.kv_formats.values(), ids=lambda row: row.name)
def test_kv_row_is_the_weight_row_of_the_same_name(row: KVFormat) -> None:
    weight = TABLES.weight_formats[row.name]
    assert (row.ggml_type, row.block, row.block_bytes) == (
        weight.ggml_type,
        weight.block,
        weight.block_bytes,
    )


def test_a_quantized_v_needs_flash_attention() -> None:
    for row in TABLES.kv_formats.values():
        assert row.needs_flash_attention_for_v == (row.block > 1)


def test_no_type_of_2_to_8_5_bits_is_missing() -> None:
    ggml = load_ggml()
    known = [kind for kind in range(GGML_TYPE_COUNT) if ggml.block(kind) > 1]
    bits = {ggml.type_name(k): 8 * ggml.block_bytes(k) / ggml.block(k) for k in known}
    in_range = {name for name, value in bits.items() if 2 <= value <= 8.5}
    assert len(in_range) > 15
    assert in_range <= set(TABLES.weight_formats)


@pytest.mark.parametrize("row", TABLES.weight_formats.values(), ids=lambda row: row.name)
def test_relative_rmse_is_what_ggml_makes_of_gaussian_weights(row: WeightFormat) -> None:
    if row.block == 1 or load_ggml().requires_imatrix(row.ggml_type):
        pytest.skip("nothing to round, or ggml rounds it only with statistics")
    ggml = load_ggml()
    weights = np.random.default_rng(0).standard_normal((16, 4096), dtype=np.float32)
    codes = ggml.quantize(weights, row.ggml_type)
    rounded = ggml.dequantize(codes, row.ggml_type, 4096)
    rmse = float(np.sqrt(((rounded - weights) ** 2).mean() / (weights**2).mean()))
    assert rmse == pytest.approx(row.relative_rmse, rel=0.02)


def test_formats_that_ggml_cannot_round_without_statistics_say_so() -> None:
    for row in TABLES.weight_formats.values():
        assert row.needs_imatrix or not load_ggml().requires_imatrix(row.ggml_type)


@pytest.mark.parametrize(
    ("name", "columns", "replacement"),
    [
        ("q4_K", 256, "q4_K"),
        ("q4_K", 576, "q5_0"),
        ("q2_K", 576, "q4_0"),
        ("q3_K", 576, "q4_0"),
        ("q5_K", 896, "q5_1"),
        ("q6_K", 896, "q8_0"),
        ("iq3_s", 960, "iq4_nl"),
        ("iq4_xs", 1152, "iq4_nl"),
        ("q4_K", 48, "f16"),
        ("q8_0", 50, "f16"),
        ("bf16", 7, "bf16"),
    ],
)
def test_rows_that_do_not_divide_take_llama_cpps_fallback(
    name: str, columns: int, replacement: str
) -> None:
    assert TABLES.format_for_rows(name, columns).name == replacement
