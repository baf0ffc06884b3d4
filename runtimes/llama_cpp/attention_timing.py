"""How long attending to one cached token takes, for each pair of K and V formats."""

import ctypes
from collections.abc import Iterable
from dataclasses import dataclass

from edgellm.formats import KVFormat
from edgellm.progress import ProgressSink
from edgellm.runtimes.llama_cpp.graphs import Graph, Processor
from edgellm.runtimes.llama_cpp.timing import Effort, Measured, Stage, measure_in_turn
from edgellm.runtimes.llama_cpp.weight_timing import fill_region
from edgellm.speed import DecodeShape

_TOKENS = 512
_REGION_BYTES = 64 << 20
_MOST_PLACES = 32  # of one pair's caches, so that each sample meets one not read lately


def measure_attention(
    processor: Processor,
    pairs: Iterable[tuple[KVFormat, KVFormat]],
    shape: DecodeShape,
    *,
    effort: Effort,
    progress: ProgressSink,
) -> dict[tuple[str, str], Measured]:
    """Seconds for each cached token of one layer, by the names of the K and V formats."""
    heads = (shape.heads, shape.kv_heads, shape.head_dim)
    most_bytes = 2 * 4 * _TOKENS * shape.kv_heads * shape.head_dim + 4096
    places = min(max(_REGION_BYTES // most_bytes, 2), _MOST_PLACES)
    region = processor.plain(places * most_bytes)
    fill_region(region)
    wide_bytes = 4 * 8 * shape.heads * shape.head_dim
    scratch = processor.plain(2 * (most_bytes + wide_bytes + 4096))
    ctypes.memset(scratch.address, 0, scratch.bytes)
    timers = {}
    for turn, (key, value) in enumerate(pairs):
        types = (key.ggml_type, value.ggml_type)
        graphs = [
            processor.attention(types, heads, _TOKENS, (region, scratch), place * most_bytes)
            for place in range(places)
        ]
        timers[key.name, value.name] = _Caches(graphs, turn).sample
    stage = Stage("KV cache", len(timers) * most_bytes, progress)
    return measure_in_turn(timers, effort, stage)


@dataclass(slots=True)
class _Caches:
    """Caches of one pair of formats in several places."""

    graphs: list[Graph]
    turn: int

    def sample(self) -> float:
        graph = self.graphs[self.turn % len(self.graphs)]
        self.turn += 1
        return graph.seconds() / _TOKENS
