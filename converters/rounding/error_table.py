"""Measures what each format costs each tensor in output error, through the rounding itself."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from threading import Event

import numpy as np
from numpy.typing import NDArray

from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint
from edgellm.converters.gguf.ggml import load_ggml
from edgellm.converters.rounding.moments import rounding_moments
from edgellm.converters.rounding.rounding import GgmlRounding, Rounding
from edgellm.converters.rounding.sample import RowSample, sample_rows, sampled_rows
from edgellm.errors import FormatError
from edgellm.files import output_errors, write_json
from edgellm.formats import Tables, WeightFormat
from edgellm.progress import Progress, ProgressSink, ignore_progress
from edgellm.sensitivity.error_table import ErrorTable, TensorError
from edgellm.spec import ModelSpec, TensorSpec

F32Array = NDArray[np.float32]

_LARGEST_WEIGHT = 65504.0  # block formats keep their scales in float16
_POLL_S = 0.2  # Windows hears Ctrl-C only between waits


def measure_errors(
    checkpoint: Checkpoint,
    spec: ModelSpec,
    tables: Tables,
    calibration: Calibration,
    *,
    threads: int,
    cache: Path | None = None,
    rounding: Rounding | None = None,
    gradients: Mapping[str, F32Array] | None = None,
    progress: ProgressSink = ignore_progress,
) -> ErrorTable:
    """The error of every matrix in every plannable format that its rows can take.

    Large tensors are judged by their `sample_rows`. cache: folder that keeps each tensor's figures
    under a hash of all that they depend on. rounding: ggml's when None. gradients: of a loss by the
    `sample_rows` of each matrix, where the slopes are asked for: [sampled, columns]. progress:
    float32 bytes of what is measured.
    Raises InputError for a calibration of another model, FormatError where it meets weights that
    are not finite or too large for block formats.
    """
    moments = rounding_moments(spec, calibration)
    bench = _Bench(checkpoint, tables, rounding or GgmlRounding(load_ggml()), cache, Event())
    if cache is not None:
        with output_errors(cache):
            cache.mkdir(parents=True, exist_ok=True)
    matrices = [tensor for tensor in spec.tensors if tensor.is_matrix]
    pool = ThreadPoolExecutor(threads, thread_name_prefix="errors")
    try:
        measured = {
            tensor: pool.submit(
                bench.errors,
                tensor,
                sample_rows(tensor, calibration),
                _Weights.of(tensor.name, calibration, moments, gradients or {}),
            )
            for tensor in matrices
        }
        return _collect(measured, progress)
    finally:
        bench.stopped.set()
        pool.shutdown(cancel_futures=True)


def _collect(
    measured: Mapping[TensorSpec, Future[Mapping[str, TensorError]]], progress: ProgressSink
) -> ErrorTable:
    total_bytes = sum(_sample_bytes(tensor) for tensor in measured)
    done_bytes, table = 0, {}
    for tensor, future in measured.items():
        while not future.done():
            wait((future,), timeout=_POLL_S)
        table[tensor.name] = future.result()
        done_bytes += _sample_bytes(tensor)
        progress(Progress("errors", done_bytes, total_bytes, tensor.name))
    return table


def _sample_bytes(tensor: TensorSpec) -> int:
    return sampled_rows(tensor) * tensor.shape[1] * 4


@dataclass(frozen=True, slots=True)
class _Weights:
    """What counts how much in one tensor's error; None where nothing was measured."""

    rounding: F32Array | None  # guides the rounding: [columns]
    inputs: F32Array | None  # E[x_j^2]: [columns]
    outputs: F32Array | None  # 1 on average: [rows]
    gradient: F32Array | None  # of a loss by the sampled rows: [sampled, columns]

    @classmethod
    def of(
        cls,
        name: str,
        calibration: Calibration,
        rounding: Mapping[str, F32Array],
        gradients: Mapping[str, F32Array],
    ) -> "_Weights":
        inputs, outputs = calibration.input_moments.get(name), calibration.output_weights.get(name)
        return cls(rounding.get(name), inputs, outputs, gradients.get(name))

    def digest(self) -> bytes:
        arrays = (self.rounding, self.inputs, self.outputs, self.gradient)
        found = (b"none" if array is None else array.astype("<f4").tobytes() for array in arrays)
        return b"".join(found)


@dataclass(frozen=True, slots=True)
class _Sample:
    """Some rows of a tensor, which stand for all."""

    rows: F32Array  # [sampled, columns]
    drawn: RowSample


@dataclass(frozen=True, slots=True)
class _Bench:
    """What every measurement shares; `errors` runs in any thread."""

    checkpoint: Checkpoint
    tables: Tables
    rounding: Rounding
    cache: Path | None
    stopped: Event

    def errors(
        self, tensor: TensorSpec, drawn: RowSample, weights: _Weights
    ) -> Mapping[str, TensorError]:
        """The tensor's error by format."""
        sample = self._sample(tensor, drawn)
        formats = self._formats(tensor, weights.rounding)
        path = self._cache_path(tensor, sample, weights, formats)
        known = _read_cached(path, formats)
        if known is not None:
            return known
        found = {}
        for fmt in formats:
            if self.stopped.is_set():
                raise CancelledError
            found[fmt.name] = self._error(tensor, sample, fmt, weights)
        if path is not None:
            write_json(path, {name: asdict(error) for name, error in found.items()})
        return found

    def _sample(self, tensor: TensorSpec, drawn: RowSample) -> _Sample:
        n_rows = tensor.shape[0]
        if len(drawn.at) == n_rows:
            rows = self.checkpoint.read_rows(tensor.name, 0, n_rows)
        else:
            single = [self.checkpoint.read_rows(tensor.name, i, i + 1) for i in drawn.at.tolist()]
            rows = np.concatenate(single)
        # NaN fails both comparisons.
        if not (rows.min() >= -_LARGEST_WEIGHT and rows.max() <= _LARGEST_WEIGHT):
            path = self.checkpoint.stored[tensor.name].path
            raise FormatError(path, f"tensor {tensor.name}: expected finite weights up to 65504")
        return _Sample(rows, drawn)

    def _formats(self, tensor: TensorSpec, moments: F32Array | None) -> Sequence[WeightFormat]:
        every = self.tables.weight_formats.values()
        names = {
            self.tables.format_for_rows(fmt.name, tensor.shape[1]).name
            for fmt in every
            if fmt.plannable
        }
        usable = (fmt for fmt in every if moments is not None or not fmt.needs_imatrix)
        return [fmt for fmt in usable if fmt.name in names]

    def _error(
        self, tensor: TensorSpec, sample: _Sample, fmt: WeightFormat, weights: _Weights
    ) -> TensorError:
        rows = sample.rows
        blocks = self.rounding.pack(rows, fmt, weights.rounding)
        error = load_ggml().dequantize(blocks, fmt.ggml_type, rows.shape[1])
        error -= rows
        n_rows, drawn = tensor.shape[0], sample.drawn
        slope = 0.0
        if weights.gradient is not None:
            seen = np.einsum("kj,kj->k", weights.gradient, error, dtype=np.float64)
            slope = float(seen @ drawn.stands_for)
        squares = np.square(error, out=error)
        output = 0.0
        if weights.inputs is not None:
            each = np.einsum("kj,j->k", squares, weights.inputs, dtype=np.float64)
            output = n_rows * drawn.mean(each, weights.outputs)
        return TensorError(output, drawn.mean(squares.sum(axis=1, dtype=np.float64)), slope)

    def _cache_path(
        self,
        tensor: TensorSpec,
        sample: _Sample,
        weights: _Weights,
        formats: Sequence[WeightFormat],
    ) -> Path | None:
        if self.cache is None:
            return None
        digest = hashlib.sha256(sample.rows.data)
        digest.update(sample.drawn.stands_for.tobytes())
        digest.update(weights.digest())
        names = [fmt.name for fmt in formats]
        digest.update(repr((tensor.shape, names, self.rounding.identity)).encode())
        return self.cache / f"{digest.hexdigest()}.json"


def _read_cached(
    path: Path | None, formats: Sequence[WeightFormat]
) -> Mapping[str, TensorError] | None:
    """What the cache holds for exactly these formats; None where it holds nothing of use."""
    if path is None:
        return None
    try:
        document = json.loads(path.read_bytes())
        return {
            fmt.name: TensorError(
                *(float(document[fmt.name][figure.name]) for figure in fields(TensorError))
            )
            for fmt in formats
        }
    except (OSError, ValueError, KeyError, TypeError):
        return None
