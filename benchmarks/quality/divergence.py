"""KL divergence of GGUF files from one reference, over windows spread evenly through a text."""

import ctypes
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgellm.evaluation import Comparison, F32Array
from edgellm.gguf_file import read_gguf
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.llama_cpp.scoring import LlamaCppScorer
from edgellm.runtimes.options import ScoringOptions


class Reference:
    """The windows and what the reference expects in them, kept for every model to compare."""

    def __init__(self, path: Path, text: str, length: int, count: int, skip: int) -> None:
        """skip: tokens at the start of each window that are not scored."""
        self._length, self._skip = length, skip
        with self._opened(path) as scorer:
            tokens = scorer.tokens(text)
            starts = np.linspace(0, len(tokens) - length, count).astype(int)
            self._windows = [tokens[start : start + length] for start in starts]
            self._logits: list[list[F32Array]] = [
                [piece.copy() for piece in scorer.logits(window)] for window in self._windows
            ]

    def divergence(self, path: Path, key_format: str = "f16", value_format: str = "f16") -> float:
        """Mean KL(reference || model) per position, in nats."""
        comparison = Comparison()
        with self._opened(path, key_format, value_format) as scorer:
            for window, expected in zip(self._windows, self._logits, strict=True):
                following = window[self._skip + 1 :]
                comparison.add_window(expected, scorer.logits(window), following)
        return comparison.result().kl_divergence.mean

    def _opened(
        self, path: Path, key_format: str = "f16", value_format: str = "f16"
    ) -> LlamaCppScorer:
        options = ScoringOptions(self._length, self._skip, key_format, value_format)
        return LlamaCppRuntime().open_scorer(path, options)


def quantize_preset(
    source: Path, target: Path, ftype: int, imatrix: Mapping[str, F32Array] | None = None
) -> int:
    """Write one of llama.cpp's presets; returns its tensors' bytes.

    imatrix: input statistics by GGUF tensor name, where there are any.
    """
    params = llama.llama_model_quantize_default_params()
    params.ftype, params.nthread = ftype, 2
    entries = (llama.llama_model_imatrix_data * (len(imatrix or {}) + 1))()
    for entry, (name, moments) in zip(entries, (imatrix or {}).items(), strict=False):
        entry.name, entry.size = name.encode(), moments.size
        entry.data = moments.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
    params.imatrix = entries if imatrix else None
    failed = llama.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(params)
    )
    if failed:
        raise RuntimeError(f"preset {ftype} cannot be written")
    return sum(tensor.bytes for tensor in read_gguf(target).tensors)
