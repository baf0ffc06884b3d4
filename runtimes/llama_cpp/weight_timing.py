"""How long one weight of each format takes to multiply, streaming as decoding streams it."""

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass

from edgellm.formats import WeightFormat
from edgellm.progress import ProgressSink
from edgellm.runtimes.llama_cpp.graphs import Graph, Processor, Region
from edgellm.runtimes.llama_cpp.timing import Effort, Measured, Stage, measure_in_turn
from edgellm.speed import LARGEST_WEIGHTS_BYTES

_COLUMNS = 2048
_ROW_MULTIPLE = 32  # rearranged layouts hold several rows together
_MATRIX_BYTES = 4 << 20  # a sample's, short beside what disturbs it, long beside its start
_SLACK = 4  # rearranged tensors may be larger, by less than one part in so many
_PATTERN_BYTES = 1 << 20


def measure_weights(
    processor: Processor,
    formats: Iterable[WeightFormat],
    weights_bytes: int,
    *,
    rearrange: bool,
    effort: Effort,
    progress: ProgressSink,
) -> dict[str, Measured]:
    """Seconds for each weight by format's name, of a model with about so many bytes of weights.

    rearrange: whether weights are laid out as llama.cpp rearranges them at load.
    """
    matrix_bytes = min(weights_bytes, _MATRIX_BYTES)
    slot_bytes = matrix_bytes + matrix_bytes // _SLACK
    slots = weights_bytes // matrix_bytes
    rearranging = processor.rearranging(slots * slot_bytes) if rearrange else []
    regions = [*rearranging, processor.plain(slots * slot_bytes)]
    for region in regions:
        fill_region(region)
    regions.append(processor.plain(_scratch_bytes(matrix_bytes)))
    timers = {}
    for position, fmt in enumerate(formats):
        columns = _COLUMNS
        rows = matrix_bytes // fmt.tensor_bytes((columns,)) // _ROW_MULTIPLE * _ROW_MULTIPLE
        rows = max(rows, _ROW_MULTIPLE)
        graphs = [
            processor.product(fmt.ggml_type, rows, columns, regions, slot * slot_bytes)
            for slot in range(slots)
        ]
        fits_a_cache = weights_bytes < LARGEST_WEIGHTS_BYTES
        timers[fmt.name] = _Matrices(graphs, rows * columns, fits_a_cache, position).sample
    stage = Stage("weights", len(timers) * matrix_bytes, progress)
    return measure_in_turn(timers, effort, stage)


def fill_region(region: Region) -> None:
    """Write random codes with scales like those of a model.

    Every second byte is one of eight, which gives the float16 scales, wherever a format has them,
    two octaves. ggml may convert them through a table of 256 KiB: scales of any size would read
    all of it and take twice the time in q8_0, and zeros would read one entry.
    """
    import numpy as np

    pattern = np.random.default_rng(0).integers(0, 256, _PATTERN_BYTES, dtype=np.uint8)
    pattern[1::2] = 0x18 + pattern[1::2] % 8
    content = np.resize(pattern, region.bytes)
    ctypes.memmove(region.address, content.ctypes.data, region.bytes)


def _scratch_bytes(matrix_bytes: int) -> int:
    """Input and output of a matrix whose rows take at least an eighth of a byte for each weight."""
    least_rows = max(matrix_bytes // (_COLUMNS // 8), _ROW_MULTIPLE)
    return 4 * (_COLUMNS + least_rows) + 4096


@dataclass(slots=True)
class _Matrices:
    """The matrices of one format; all formats lie in the same memory, one over the other."""

    graphs: list[Graph]
    weights: int  # of one matrix
    fits_a_cache: bool
    turn: int  # formats start at different matrices: what one has just read, no other reads next

    def sample(self) -> float:
        """Seconds for each weight of the next matrix, after all the others were read."""
        if self.fits_a_cache:
            for graph in self.graphs:
                graph.seconds()
        graph = self.graphs[self.turn % len(self.graphs)]
        self.turn += 1
        return graph.seconds() / self.weights
