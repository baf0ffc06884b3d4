"""Converted files are plain GGUF: llama-cpp-python's own class loads them and agrees with us."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.families import FAMILIES, read_spec
from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp.amx import amx_fallback
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import ScoringOptions
from edgellm.spec import Role
from tests.support.checkpoints import NOVELIST_VOCAB
from tests.support.conversions import tiny_checkpoint
from tests.support.plans import fixed_plan
from tests.support.stock_loader import stock_logits

POSITIONS = 64
MIXED = {
    Role.TOKEN_EMBEDDING: "q6_K",
    Role.OUTPUT: "q8_0",
    Role.ATTN_K: "q4_0",
    Role.ATTN_V: "q5_K",
    Role.FFN_GATE: "iq4_xs",
    Role.FFN_UP: "iq4_nl",
    Role.FFN_DOWN: "q3_K",
}


def convert_mixed(folder: Path, family: str) -> Path:
    """A tiny random model with a format for each role; the path of its GGUF file."""
    checkpoint, tables = open_checkpoint(tiny_checkpoint(folder / "model", family)), load_tables()
    spec = read_spec(checkpoint)
    plan = fixed_plan(spec, tables, "q4_K", MIXED)
    return convert(checkpoint, spec, plan, folder / "out", tables=tables, threads=1).gguf


def our_logits(gguf: Path, tokens: list[int]) -> NDArray[np.float32]:
    options = ScoringOptions(len(tokens), 0, threads=1)
    with LlamaCppRuntime().open_scorer(gguf, options) as scorer:
        return np.concatenate([piece.copy() for piece in scorer.logits(tokens)])


@pytest.mark.skipif(
    amx_fallback(None) is not None, reason="this build of llama.cpp crashes in its AMX code"
)
@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_stock_class_loads_a_mixed_file_and_finds_our_logits(
    tmp_path: Path, family: str
) -> None:
    gguf = convert_mixed(tmp_path, family)
    tokens = np.random.default_rng(5).integers(3, NOVELIST_VOCAB, POSITIONS).tolist()
    ours, stock = our_logits(gguf, tokens), stock_logits(gguf, tokens)[: POSITIONS - 1]
    assert ours.shape == stock.shape
    assert stock.std(axis=1).min() > 0.1, "flat logits would agree by themselves"
    # The stock class asks for one row more, and a kernel may add up another number of rows
    # in another order.
    np.testing.assert_allclose(ours, stock, rtol=0, atol=1e-4)
