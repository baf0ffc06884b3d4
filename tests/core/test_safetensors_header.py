"""The header check that runs before any library opens a safetensors file."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgellm.checkpoint.safetensors_header import MAX_HEADER_BYTES, MAX_TENSORS, read_header
from edgellm.errors import EdgeLLMError, FormatError, InputError, UnsupportedError
from edgellm.spec import DType
from tests.support.checkpoints import write_raw_safetensors, write_safetensors

FOUR_BYTES = b'{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}'


def entry(dtype: str = "F32", shape: object = (1,), offsets: object = (0, 4)) -> bytes:
    return json.dumps({"a": {"dtype": dtype, "shape": shape, "data_offsets": offsets}}).encode()


def pair(first: tuple[int, int], second: tuple[int, int]) -> bytes:
    tensors = {
        name: {"dtype": "F16", "shape": [(end - start) // 2], "data_offsets": [start, end]}
        for name, (start, end) in {"a": first, "b": second}.items()
    }
    return json.dumps(tensors).encode()


BROKEN = {
    "a header that is not an object": (b"[1]", b"", "header starts with"),
    "a header that is not JSON": (b'{"a":', b"", "not JSON"),
    "a header that is not UTF-8": (b'{"\xff":1}', b"", "not UTF-8"),
    "NaN": (b'{"a":NaN}', b"", "NaN is not JSON"),
    "deep nesting": (b'{"a":' + b"[" * 100_000, b"", "nested too deeply"),
    "a 5000-digit number": (b'{"a":' + b"9" * 5000 + b"}", b"", "5000 digits"),
    "a tensor that is no object": (b'{"a":1}', b"", "expected an object"),
    "metadata that are no strings": (b'{"__metadata__":{"a":1}}', b"", "__metadata__"),
    "a duplicate tensor": (FOUR_BYTES[:-1] + b"," + FOUR_BYTES[1:], b"1234", "'a' appears twice"),
    "a duplicate field": (
        FOUR_BYTES.replace(b'"shape":[1]', b'"shape":[1],"shape":[1]'),
        b"1234",
        "'shape' appears twice",
    ),
    "an unknown dtype": (entry("Q4"), b"1234", "dtype is 'Q4'"),
    "a missing dtype": (b'{"a":{"shape":[1],"data_offsets":[0,4]}}', b"1234", "dtype"),
    "a negative dimension": (entry(shape=[-1]), b"1234", "shape"),
    "a boolean dimension": (entry(shape=[True]), b"1234", "shape"),
    "a fractional dimension": (entry(shape=[1.0]), b"1234", "shape"),
    "a shape that is no list": (entry(shape=1), b"1234", "shape"),
    "rank 9": (entry(shape=[1] * 9), b"1234", "at most 8 dimensions"),
    "a shape product that wraps in 64 bits": (
        entry(shape=[4194305, 4194305, 211106198978564]),
        b"1234",
        "takes",
    ),
    "a shape that disagrees with its bytes": (entry(shape=[2]), b"1234", "takes 8 bytes"),
    "one offset": (entry(offsets=[0]), b"1234", "data_offsets"),
    "offsets in reverse": (entry(offsets=[4, 0]), b"1234", "data_offsets"),
    "an offset of 2^64": (entry(offsets=[0, 2**64]), b"1234", "data_offsets"),
    "a hole": (pair((0, 2), (4, 6)), b"123456", "leaves a hole"),
    "a hole at the start": (entry(offsets=[4, 8]), b"12345678", "leaves a hole"),
    "an overlap": (pair((0, 4), (2, 6)), b"123456", "overlaps"),
    "trailing bytes": (FOUR_BYTES, b"12345", "1 bytes after the last tensor"),
    "a truncated body": (FOUR_BYTES, b"123", "truncated"),
    "a line break in a name": (b'{"a\\n\\ud800":1}', b"", r"'a\n\ud800'"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_header_is_refused_in_one_line(case: str, tmp_path: Path) -> None:
    header, body, problem = BROKEN[case]
    path = tmp_path / "model.safetensors"
    write_raw_safetensors(path, header, body)
    with pytest.raises(FormatError) as caught:
        read_header(path)
    text = str(caught.value)
    assert problem in text
    assert str(path) in text
    assert text.isprintable()
    assert len(text) < 400


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "too few"),
        (b"1234567", "too few"),
        (struct.pack("<Q", 2**63) + b"{}", "header of 9223372036854775808 bytes"),
        (struct.pack("<Q", MAX_HEADER_BYTES + 1) + b"{}", "16.00 MiB"),
        (struct.pack("<Q", 100) + b"{}", "truncated"),
        (b"GGUF\x03\x00\x00\x00 and more", "GGUF"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
    ],
)
def test_a_file_that_starts_wrong_is_refused(content: bytes, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=problem):
        read_header(path)


@pytest.mark.parametrize(
    ("dtype", "meaning"), [("F8_E4M3", "FP8"), ("I32", "GPTQ"), ("U8", "bitsandbytes")]
)
def test_other_element_types_are_refused_with_their_meaning(
    dtype: str, meaning: str, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_raw_safetensors(path, entry(dtype), b"1234")
    with pytest.raises(UnsupportedError, match=meaning) as caught:
        read_header(path)
    assert "F32, F16, BF16" in str(caught.value)


def test_too_many_tensors_are_refused(tmp_path: Path) -> None:
    empty = b'{"dtype":"F32","shape":[0],"data_offsets":[0,0]}'
    tensors = b",".join(b'"%d":%s' % (number, empty) for number in range(MAX_TENSORS + 1))
    path = tmp_path / "model.safetensors"
    write_raw_safetensors(path, b"{" + tensors + b"}")
    with pytest.raises(FormatError, match="100001 tensors; at most 100000"):
        read_header(path)


def test_a_header_of_empty_lists_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    write_raw_safetensors(path, b'{"a":[' + b"[]," * 5_000_000 + b"0]}")
    with pytest.raises(FormatError, match="JSON values"):
        read_header(path)


def test_a_directory_is_not_a_safetensors_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a regular file"):
        read_header(tmp_path)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.dictionaries(
        st.text(min_size=1, max_size=20).filter(lambda name: name != "__metadata__"),
        st.lists(st.integers(0, 5), max_size=4).map(tuple),
        max_size=6,
    ),
    dtype=st.sampled_from(DType),
)
def test_what_was_written_is_read_back(
    shapes: dict[str, tuple[int, ...]], dtype: DType, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(
        path, {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}, dtype
    )
    tensors = read_header(path)
    assert {name: tensor.shape for name, tensor in tensors.items()} == shapes
    assert all(tensor.dtype is dtype for tensor in tensors.values())
    lengths = [tensor.end_byte - tensor.start_byte for tensor in tensors.values()]
    body_bytes = path.stat().st_size - int.from_bytes(path.read_bytes()[:8], "little") - 8
    assert sum(lengths) == body_bytes


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    edits=st.lists(st.tuples(st.integers(0, 400), st.binary(max_size=6)), min_size=1, max_size=4),
    keep=st.integers(0, 400),
)
def test_no_mutation_raises_anything_else(
    edits: list[tuple[int, bytes]], keep: int, tmp_path: Path
) -> None:
    path = tmp_path / "model.safetensors"
    write_safetensors(path, {"a": np.ones((3, 4), np.float32), "b": np.ones(5, np.float32)})
    content = bytearray(path.read_bytes())
    for position, replacement in edits:
        content[position : position + len(replacement)] = replacement
    path.write_bytes(content[:keep] if keep < 40 else content)
    assert refusal(path).isprintable()


def refusal(path: Path) -> str:
    """What the reader says against a file; empty when it has nothing to say."""
    try:
        read_header(path)
    except EdgeLLMError as error:
        return str(error)
    return ""
