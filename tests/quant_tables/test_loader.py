"""Tables that do not add up are refused by file and row."""

import shutil
from pathlib import Path

import pytest

import edgellm.quant_tables
from edgellm.errors import FormatError
from edgellm.quant_tables import load_kv_formats, load_tables
from edgellm.quant_tables.loader import read_tables

TABLES = Path(edgellm.quant_tables.__file__).parent


def edited(folder: Path, file: str, old: str, new: str) -> Path:
    """A copy of the tables in which the first `old` of one file reads `new`."""
    for path in TABLES.glob("*.toml"):
        shutil.copy(path, folder)
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "complaint"),
    [
        ("weight_formats.toml", "block = 256", 'block = "256"', r"\[q2_K\] block is '256'"),
        ("weight_formats.toml", "block = 256", "block = 0", r"\[q2_K\] block and block_bytes"),
        ("weight_formats.toml", "ggml_type = 10\n", "", r"\[q2_K\] key ggml_type is missing"),
        ("weight_formats.toml", "ggml_type = 10", "ggml_type = true", r"ggml_type is True"),
        ("weight_formats.toml", "block = 256", "blok = 256", r"\[q2_K\] key blok is unknown"),
        ("weight_formats.toml", '"q4_0"', '"q9_9"', r"\[q2_K\] fallback is q9_9"),
        ("weight_formats.toml", '"q4_0"', '"q3_K"', r"\[q2_K\] fallback q3_K has no smaller"),
        (
            "weight_formats.toml",
            'fallback = "f16"',
            'fallback = "f32"',
            r"ends in f32; expected f16",
        ),
        ("weight_formats.toml", "= 0.297", "= 1.5", r"\[q2_K\] relative_rmse is 1.5"),
        ("weight_formats.toml", "plannable = true", "plannable = false", r"\[q2_K\] reason"),
        ("kv_formats.toml", '"q8_0", "q5_1"', '"q8_0", "q8_0"', r"'q8_0', which is no row"),
        ("kv_formats.toml", '"q8_0", "q5_1"', '"q8_0", "q9_0"', r"'q9_0', which is no row"),
        ("kv_formats.toml", "offered = [", "offered = []\nmore = [", r"more is unknown"),
        ("kv_formats.toml", "offered = [", "# offered = [", r"offered is missing"),
        ("engines.toml", "[512, 256", "[256, 512", r"\[llama.cpp\] ubatches"),
        ("engines.toml", '["q2_K"', '["q2_X"', r"\[llama.cpp\] repacks q2_X"),
        ("backends.toml", 'reads = "gguf"', 'reads = "pt"', r"\[llama.cpp CUDA\] reads is 'pt'"),
        ("backends.toml", '["nvidia"]', '["nvidea"]', r"vendors names nvidea"),
        ("backends.toml", '["nvidia"]', "[]", r"\[llama.cpp CUDA\] gpu and"),
        ("backends.toml", '"q8_0", "q5_1"', '"q8_0", "q2_0"', r"names q2_0, which runs on the CPU"),
        ("backends.toml", '"q8_0", "q5_1"', '"q8_0", "q9_0"', r"names q9_0, which is no row"),
        ("backends.toml", '["llama-cpp-python"]', "[]", r"packages and install must not be empty"),
        ("backends.toml", "shared_share = 0.75", "shared_share = 1.5", r"shared_share is 1.5"),
        ("backends.toml", "rank = 10", "rank = -1", r"ranks, .* must not be negative"),
        ("static_priors.toml", "attn_v = ", "attn_z = ", r"roles.attn_v is missing"),
        ("static_priors.toml", "first_layer = 6.0", "first_layer = nan", r"must be positive"),
        ("static_priors.toml", "[roles]", "[roles", r"is not TOML"),
    ],
)
def test_a_table_that_does_not_add_up_is_refused(
    tmp_path: Path, file: str, old: str, new: str, complaint: str
) -> None:
    with pytest.raises(FormatError, match=complaint) as caught:
        read_tables(edited(tmp_path, file, old, new))
    assert file in str(caught.value)


def test_a_missing_table_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"weight_formats\.toml: cannot be read"):
        read_tables(tmp_path)


def test_the_shipped_tables_are_read_once_and_cannot_be_changed() -> None:
    assert load_tables() is load_tables()
    with pytest.raises(TypeError):
        load_tables().weight_formats["q2_K"] = None  # type: ignore[index]


def test_a_pair_of_cache_formats_never_gives_k_fewer_bits_than_v() -> None:
    tables = load_tables()
    bits = {name: row.bits_per_element for name, row in tables.kv_formats.items()}
    totals = [bits[key] + bits[value] for key, value in tables.kv_pairs]
    assert totals == sorted(totals, reverse=True)
    assert all(bits[key] >= bits[value] for key, value in tables.kv_pairs)
    assert {("f16", "f16"), ("q8_0", "q4_0"), ("q2_0", "q2_0")} <= set(tables.kv_pairs)
    assert {"q4_0", "iq4_nl"} == {v for k, v in tables.kv_pairs if k == "q4_0"} - {"q2_0"}


def test_cache_formats_alone_are_those_of_the_tables() -> None:
    assert load_kv_formats() == load_tables().kv_formats
