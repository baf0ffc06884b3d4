"""What is done to ggml's blocks, against gguf's own reading of them."""

import gguf
import numpy as np
import pytest
from numpy.typing import NDArray

from edgellm.converters.gguf.ggml import load_ggml
from edgellm.converters.rounding.rounding import GgmlRounding
from edgellm.quant_tables import load_tables

TABLES = load_tables()
F32Array = NDArray[np.float32]
F64Array = NDArray[np.float64]
COLUMNS = 768


def weights(rows: int = 16) -> F32Array:
    random = np.random.default_rng(0)
    return random.standard_normal((rows, COLUMNS), dtype=np.float32) * np.float32(0.1)


def moments() -> F32Array:
    return np.random.default_rng(1).lognormal(sigma=1.5, size=COLUMNS).astype(np.float32)


def packed(name: str, rows: F32Array, guide: F32Array | None) -> NDArray[np.uint8]:
    return GgmlRounding(load_ggml()).pack(rows, TABLES.weight_formats[name], guide)


def read(blocks: NDArray[np.uint8], name: str) -> F64Array:
    kind = gguf.GGMLQuantizationType[name.upper()]
    rows: F64Array = gguf.quants.dequantize(blocks, kind).astype(np.float64)
    return rows


def size_kept(blocks: NDArray[np.uint8], rows: F32Array) -> F64Array:
    """How large the outputs of each row are, on average, against those of its weights: [rows]."""
    exact, guide = rows.astype(np.float64), moments().astype(np.float64)
    kept: F64Array = (read(blocks, "iq3_s") * exact) @ guide / (exact**2 @ guide)
    return kept


def test_guided_iq3_s_keeps_the_size_of_every_output() -> None:
    rows = weights()
    theirs = load_ggml().quantize(rows, TABLES.weight_formats["iq3_s"].ggml_type, moments())
    assert size_kept(theirs, rows).mean() > 1.01
    assert size_kept(packed("iq3_s", rows, moments()), rows) == pytest.approx(1, abs=1e-3)


def test_only_the_scales_of_guided_iq3_s_change() -> None:
    rows, fmt = weights(), TABLES.weight_formats["iq3_s"]
    theirs = load_ggml().quantize(rows, fmt.ggml_type, moments())
    changed = (packed("iq3_s", rows, moments()) != theirs).reshape(-1, fmt.block_bytes).any(axis=0)
    assert set(np.flatnonzero(changed)) <= {0, 1}


def test_rows_of_zeros_stay_zeros() -> None:
    rows = weights()
    rows[5] = 0
    found = read(packed("iq3_s", rows, moments()), "iq3_s")
    assert not found[5].any()
    assert np.isfinite(found).all()


def test_each_row_is_corrected_on_its_own() -> None:
    rows = weights()
    apart = [packed("iq3_s", rows[i : i + 1], moments()) for i in range(len(rows))]
    assert np.array_equal(np.concatenate(apart), packed("iq3_s", rows, moments()))


@pytest.mark.parametrize("guide", [None, moments()], ids=["unguided", "guided"])
def test_other_roundings_are_ggmls(guide: F32Array | None) -> None:
    rows = weights()
    for name in ("q2_K", "q4_K", "iq4_xs", *(["iq3_s"] if guide is None else ["iq3_xxs"])):
        theirs = load_ggml().quantize(rows, TABLES.weight_formats[name].ggml_type, guide)
        assert np.array_equal(packed(name, rows, guide), theirs), name
