"""Bytes of tensors and cache rows."""

import pytest

from edgellm.errors import UnsupportedError, UsageError
from edgellm.quant_tables import load_tables

TABLES = load_tables()


def test_a_tensor_takes_whole_blocks() -> None:
    q4_k = TABLES.weight_formats["q4_K"]
    assert q4_k.bits_per_weight == 4.5
    assert q4_k.tensor_bytes((10, 512)) == 10 * 2 * 144


def test_rows_that_do_not_divide_are_refused() -> None:
    with pytest.raises(UnsupportedError, match="rows of 576 weights in q4_K blocks of 256"):
        TABLES.weight_formats["q4_K"].tensor_bytes((10, 576))


def test_a_cache_row_takes_whole_blocks() -> None:
    q8_0 = TABLES.kv_formats["q8_0"]
    assert q8_0.bits_per_element == 8.5
    assert q8_0.row_bytes(128) == 4 * 34
    assert q8_0.divides(96)
    assert not q8_0.divides(80)


@pytest.mark.parametrize(
    ("head_dim", "names"),
    [
        (64, {"f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl", "q2_0"}),
        (96, {"f16", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0", "iq4_nl"}),
        (80, {"f16"}),
    ],
)
def test_pairs_of_cache_formats_are_those_whose_blocks_divide_a_head(
    head_dim: int, names: set[str]
) -> None:
    pairs = TABLES.pairs_for_heads(head_dim)
    assert {key.name for key, _ in pairs} == {value.name for _, value in pairs} == names


def test_format_names_are_found_in_any_letter_case() -> None:
    assert TABLES.weight_format("Q4_k").name == "q4_K"


def test_an_unknown_format_is_refused_with_those_that_exist() -> None:
    with pytest.raises(UsageError, match=r"'q4_K_M' is unknown; known formats: q2_K, q3_K"):
        TABLES.weight_format("q4_K_M")


def test_every_fallback_chain_divides_any_row() -> None:
    for name in TABLES.weight_formats:
        for columns in (1, 31, 32, 48, 64, 255, 256, 576):
            assert columns % TABLES.format_for_rows(name, columns).block == 0


def test_repacking_depends_on_the_machine() -> None:
    engine = TABLES.engines["llama.cpp"]
    assert engine.repacks("q4_K", "x86_64")
    assert not engine.repacks("q6_K", "AMD64")
    assert engine.repacks("q6_K", "arm64")
    assert engine.repacks("q6_K", "aarch64")
