"""The GGUF pre-check: what it accepts, and that every bad file is refused in one line."""

import ctypes
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgellm.errors import FormatError, InputError, UnsupportedError
from edgellm.gguf_file import TYPE_BLOCKS, read_gguf
from edgellm.gguf_file.metadata import GGUFArray
from tests.support.gguf import (
    ARRAY,
    BOOL,
    F32,
    I32,
    STRING,
    U8,
    Handmade,
    TinyLlama,
    array,
    pair,
    string,
    strings,
    tensor,
    u32,
    vocabulary,
)

HUGE = 1 << 63
MAX_U64 = (1 << 64) - 1
GOOD = Handmade()
# The names of llama.cpp's tests/test-gguf.cpp; there, ZERO_DIM is accepted.
LLAMA_CPP_BAD_FILES = {
    "HEADER_BAD_MAGIC": GOOD.but(magic=b"FUGG"),
    "HEADER_BAD_VERSION_0": GOOD.but(version=0),
    "HEADER_BAD_VERSION_1": GOOD.but(version=1),
    "HEADER_BAD_VERSION_FUTURE": GOOD.but(version=4),
    "HEADER_BAD_N_TENSORS": GOOD.but(n_tensors=MAX_U64),
    "HEADER_BAD_N_KV": GOOD.but(n_pairs=MAX_U64),
    "KV_BAD_KEY_SIZE": GOOD.but(pairs=(struct.pack("<Q", MAX_U64) + b"my_key",)),
    "KV_EMPTY_KEY": GOOD.but(pairs=(u32("", 1),)),
    "KV_BAD_TYPE": GOOD.but(pairs=(pair("my_key", 13, b"\0"),)),
    "KV_BAD_VALUE_SIZE": GOOD.but(pairs=(pair("my_key", STRING, struct.pack("<Q", MAX_U64)),)),
    "KV_DUPLICATE_KEY": GOOD.but(pairs=(u32("my_key", 1), u32("my_key", 2))),
    "KV_BAD_ALIGN": GOOD.but(pairs=(u32("general.alignment", 13),)),
    "KV_WRONG_TYPE_ALIGN": GOOD.but(pairs=(pair("general.alignment", I32, struct.pack("<i", 1)),)),
    "TENSORS_BAD_NAME_SIZE": GOOD.but(tensors=(tensor("n" * 64, (4, 2)),)),
    "TENSORS_BAD_N_DIMS": GOOD.but(tensors=(tensor("a", (4, 2), dims=5),)),
    "TENSORS_BAD_SHAPE": GOOD.but(tensors=(tensor("a", (MAX_U64, MAX_U64)),)),
    "TENSORS_ZERO_DIM": GOOD.but(tensors=(tensor("a", (4, 0)),)),
    "TENSORS_NE_TOO_BIG": GOOD.but(tensors=(tensor("a", (4 * 0x7FFFFFFF,) * 2),)),
    "TENSORS_NBYTES_TOO_BIG": GOOD.but(tensors=(tensor("a", (1 << 31, 1 << 31), ggml_type=27),)),
    "TENSORS_BAD_TYPE": GOOD.but(tensors=(tensor("a", (4, 2), ggml_type=43),)),
    "TENSORS_BAD_OFFSET": GOOD.but(tensors=(tensor("a", (4, 2), offset=MAX_U64),)),
    "TENSORS_DUPLICATE_NAME": GOOD.but(tensors=(tensor("a", (4,)), tensor("a", (4,), offset=32))),
    "TENSORS_BAD_ALIGN": GOOD.but(pairs=(u32("general.alignment", 13),), alignment=13),
    "TENSORS_INCONSISTENT_ALIGN": GOOD.but(
        tensors=(tensor("a", (5,)), tensor("b", (5,), offset=20)), alignment=1
    ),
    "DATA_NOT_ENOUGH_DATA": GOOD.but(data=bytes(63)),
    "DATA_BAD_ALIGN": GOOD.but(pairs=(u32("general.alignment", 13),), data=b""),
    "DATA_INCONSISTENT_ALIGN": GOOD.but(alignment=1, data=bytes(33)),
    "DATA_MEM_SIZE_OVERFLOW": GOOD.but(
        tensors=(
            tensor("a", (0x7FFFFFFFFFFFFFC0,), ggml_type=24),
            tensor("b", (0x7FFFFFFFFFFFFFC0,), ggml_type=24, offset=0x7FFFFFFFFFFFFFC0),
        )
    ),
}


def tokenizer(*pairs: bytes, n_tokens: int = 4) -> Handmade:
    tokens = [f"t{index}" for index in range(n_tokens)]
    return GOOD.but(pairs=(strings("tokenizer.ggml.tokens", tokens), *pairs))


def types(*kinds: int) -> bytes:
    raw = struct.pack(f"<{len(kinds)}i", *kinds)
    return array("tokenizer.ggml.token_type", I32, len(kinds), raw)


def scores(*values: float) -> bytes:
    raw = struct.pack(f"<{len(values)}f", *values)
    return array("tokenizer.ggml.scores", F32, len(values), raw)


def byte_token(text: str) -> Handmade:
    return GOOD.but(pairs=(strings("tokenizer.ggml.tokens", ["a", text]), types(1, 6)))


OTHER_BAD_FILES = {
    "empty": GOOD.but(magic=b"", pairs=(), tensors=(), data=b""),
    "big endian": GOOD.but(version=3 << 24),
    "2^63 tensors": GOOD.but(n_tensors=HUGE),
    "2^63 keys": GOOD.but(n_pairs=HUGE),
    "2^63 byte string": GOOD.but(pairs=(pair("k", STRING, struct.pack("<Q", HUGE)),)),
    "2^63 numbers": GOOD.but(pairs=(array("k", U8, HUGE, b""),)),
    "2^63 strings": GOOD.but(pairs=(array("k", STRING, HUGE, b""),)),
    "16M numbers that are not there": GOOD.but(pairs=(array("k", F32, 16_000_000, b""),)),
    "2^63 bytes inside an array": GOOD.but(pairs=(array("k", STRING, 1, struct.pack("<Q", HUGE)),)),
    "nested arrays": GOOD.but(pairs=(array("k", ARRAY, 1, struct.pack("<IQ", U8, 0)),)),
    "unknown array type": GOOD.but(pairs=(array("k", 99, 1, b"\0"),)),
    "key is not UTF-8": GOOD.but(pairs=(pair(b"\xff\xfe", U8, b"\0"),)),
    "value is not UTF-8": GOOD.but(pairs=(pair("k", STRING, string(b"\xc3")),)),
    "alignment 0": GOOD.but(pairs=(u32("general.alignment", 0),)),
    "alignment 2^31": GOOD.but(pairs=(u32("general.alignment", 1 << 31),)),
    "split.count 2^31": GOOD.but(pairs=(u32("split.count", 1 << 31),)),
    "rows that do not divide": GOOD.but(tensors=(tensor("a", (33,), ggml_type=8),)),
    "removed type": GOOD.but(tensors=(tensor("a", (32,), ggml_type=4),)),
    "no dimensions": GOOD.but(tensors=(tensor("a", (), dims=0),)),
    "gap between tensors": GOOD.but(tensors=(tensor("a", (4,)), tensor("b", (4,), offset=64))),
    "overlapping tensors": GOOD.but(tensors=(tensor("a", (9,)), tensor("b", (4,), offset=32))),
    "byte token <0x-1>": byte_token("<0x-1>"),
    "byte token <0xg0>": byte_token("<0xg0>"),
    "lower-case byte token": byte_token("<0xab>"),
    "short byte token": byte_token("x"),
    "byte-like token without types": GOOD.but(
        pairs=(strings("tokenizer.ggml.tokens", ["<0x-1>"]),)
    ),
    "fewer types than tokens": tokenizer(types(1, 1)),
    "more types than tokens": tokenizer(types(1, 1, 1, 1, 1)),
    "fewer scores than tokens": tokenizer(scores(0, 0)),
    "types that are numbers": tokenizer(u32("tokenizer.ggml.token_type", 1)),
    "types of bool": tokenizer(array("tokenizer.ggml.token_type", BOOL, 4, bytes(4))),
    "scores that are NaN": tokenizer(scores(0, float("nan"), 0, 0)),
    "no tokens": tokenizer(n_tokens=0),
    "tokens that are numbers": GOOD.but(pairs=(u32("tokenizer.ggml.tokens", 1),)),
    "two equal tokens": GOOD.but(pairs=(strings("tokenizer.ggml.tokens", ["a", "a"]),)),
    "bos id outside": tokenizer(u32("tokenizer.ggml.bos_token_id", 4)),
    "padding id 2^32 - 1": tokenizer(u32("tokenizer.ggml.padding_token_id", 0xFFFFFFFF)),
    "end id outside": tokenizer(array("edgellm.eos_token_ids", I32, 1, struct.pack("<i", -1))),
    "end ids are text": tokenizer(strings("edgellm.eos_token_ids", ["a"])),
}
BAD_FILES = LLAMA_CPP_BAD_FILES | OTHER_BAD_FILES


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_refused_in_one_line_that_names_it(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.gguf"
    path.write_bytes(BAD_FILES[name].to_bytes())
    with pytest.raises((FormatError, UnsupportedError)) as refusal:
        read_gguf(path)
    text = str(refusal.value)
    assert "bad.gguf" in text
    assert "\n" not in text
    assert len(text) < 400


@pytest.mark.parametrize(
    "good",
    [
        GOOD,
        GOOD.but(version=2),
        GOOD.but(pairs=(), tensors=(), data=b""),
        GOOD.but(pairs=(u32("general.alignment", 1),), alignment=1),
        tokenizer(types(1, 1, 1, 1), scores(0, 0, 0, 0), u32("tokenizer.ggml.bos_token_id", 3)),
        byte_token("<0xAB>"),
    ],
)
def test_a_good_file_is_accepted(good: Handmade, tmp_path: Path) -> None:
    path = tmp_path / "good.gguf"
    path.write_bytes(good.to_bytes())
    file = read_gguf(path)
    assert len(file.tensors) == len(good.tensors)


def test_a_file_cut_at_any_byte_is_refused(tmp_path: Path) -> None:
    pairs = (*GOOD.pairs, strings("tokenizer.ggml.tokens", ["a", "b"]), types(1, 1))
    whole = GOOD.but(pairs=pairs).to_bytes()
    path = tmp_path / "cut.gguf"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(FormatError):
            read_gguf(path)


def test_what_was_read_is_what_gguf_py_wrote(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    path = TinyLlama().write(tmp_path / "tiny.gguf")
    ours, theirs = read_gguf(path), gguf.GGUFReader(path)
    assert ours.data_offset == theirs.data_offset
    assert ours.metadata["llama.block_count"] == 2
    assert ours.metadata["tokenizer.ggml.add_bos_token"] is True
    assert [(t.name, t.ggml_type, ours.data_offset + t.offset, t.bytes) for t in ours.tensors] == [
        (t.name, int(t.tensor_type), t.data_offset, t.n_bytes) for t in theirs.tensors
    ]
    assert [t.shape for t in ours.tensors] == [tuple(t.data.shape) for t in theirs.tensors]


def test_short_arrays_are_loaded_and_long_ones_described(tmp_path: Path) -> None:
    short = array("short", I32, 3, struct.pack("<3i", 1, -2, 3))
    long = array("long", F32, 1000, bytes(4000))
    path = tmp_path / "arrays.gguf"
    path.write_bytes(GOOD.but(pairs=(short, strings("names", ["x", "y"]), long)).to_bytes())
    metadata = read_gguf(path).metadata
    assert metadata["short"] == (1, -2, 3)
    assert metadata["names"] == ("x", "y")
    assert isinstance(described := metadata["long"], GGUFArray)
    assert (described.element_type, described.count, described.bytes) == ("f32", 1000, 4000)


def test_strings_longer_than_the_read_window_are_read(tmp_path: Path) -> None:
    long = "x" * (3 << 20)
    pairs = (strings("before", ["a" * 999] * 3000), pair("long", STRING, string(long)))
    path = tmp_path / "long.gguf"
    path.write_bytes(GOOD.but(pairs=pairs).to_bytes())
    assert read_gguf(path).metadata["long"] == long


@pytest.mark.parametrize("name", ["absent.gguf", "."])
def test_a_path_that_is_no_file_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_gguf(tmp_path / name)


def test_a_vocabulary_of_128k_tokens_is_described_not_loaded(tmp_path: Path) -> None:
    tokens, values, kinds = vocabulary([f"word{index}" for index in range(128_000)])
    merges = [f"word {index}" for index in range(280_000)]
    pairs = (
        strings("tokenizer.ggml.tokens", tokens),
        strings("tokenizer.ggml.merges", merges),
        scores(*values),
        types(*kinds),
    )
    path = tmp_path / "large.gguf"
    path.write_bytes(GOOD.but(pairs=pairs).to_bytes())
    described = read_gguf(path).metadata["tokenizer.ggml.merges"]
    assert isinstance(described, GGUFArray)
    assert described.count == 280_000


def test_block_sizes_equal_ggml() -> None:
    from llama_cpp._ggml import libggml_base_path

    library = next(libggml_base_path.glob("*ggml-base*"))
    ggml = ctypes.CDLL(str(library))
    ggml.ggml_blck_size.restype = ctypes.c_int64
    ggml.ggml_type_size.restype = ctypes.c_size_t
    theirs = {
        kind: (ggml.ggml_blck_size(kind), ggml.ggml_type_size(kind))
        for kind in range(43)
        if ggml.ggml_type_size(kind)
    }
    assert dict(TYPE_BLOCKS) == theirs


FUZZ_BASE = GOOD.but(
    pairs=(*tokenizer(types(1, 1, 1, 1)).pairs, *GOOD.pairs, u32("split.count", 1))
).to_bytes()


@settings(max_examples=1500, deadline=2000, suppress_health_check=list(HealthCheck))
@given(
    edits=st.lists(
        st.tuples(st.integers(0, len(FUZZ_BASE) - 1), st.binary(min_size=1, max_size=8)),
        min_size=1,
        max_size=4,
    ),
    cut=st.none() | st.integers(0, len(FUZZ_BASE)),
)
def test_no_mutation_escapes_as_anything_but_an_input_error(
    edits: list[tuple[int, bytes]], cut: int | None, tmp_path: Path
) -> None:
    mutated = bytearray(FUZZ_BASE)
    for at, replacement in edits:
        mutated[at : at + len(replacement)] = replacement
    path = tmp_path / "fuzz.gguf"
    path.write_bytes(mutated[:cut])
    with suppress(FormatError, UnsupportedError):
        read_gguf(path)
