"""Measures what decoding costs on this machine, once, and remembers it.

A few seconds of single operations: a matrix of each weight format times a vector, attention over
each pair of cache formats, and whole tokens of models too narrow for either to count. Figures are
for an otherwise idle machine; a model that lives in a cache suffers most from programs it shares
the cache with. Checked by `python -m benchmarks.decode_speed`.
"""

import hashlib
import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType

from edgellm.errors import FormatError
from edgellm.files import keep_json
from edgellm.hardware import Hardware, detect_hardware
from edgellm.progress import ProgressSink, ignore_progress
from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp.amx import amx_fallback
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.graphs import Processor
from edgellm.runtimes.llama_cpp.timing import Effort, Measured
from edgellm.spec import ModelSpec
from edgellm.speed import DecodeShape, DecodeSpeed

_METHOD = 1  # what is measured and how; another one makes findings of this one void


@dataclass(frozen=True, slots=True)
class Efforts:
    """Time for each part of the measurement."""

    weights: Effort
    attention: Effort
    layers: Effort


NORMAL = Efforts(Effort(2.0), Effort(1.0, rounds=12), Effort(0.5, rounds=400))


def measure_decode_speed(
    spec: ModelSpec,
    threads: int,
    cache: Path | None = None,
    progress: ProgressSink = ignore_progress,
    efforts: Efforts = NORMAL,
) -> DecodeSpeed:
    """What decoding a model of this shape costs with so many threads.

    cache: folder of earlier findings; None keeps none, and a damaged file counts as none. What was
    measured while the machine was busy is returned, and not kept. Takes about five seconds.
    Raises RuntimeFailure, OutputError.
    """
    shape = DecodeShape.of(spec)
    digest = _digest(shape, threads, detect_hardware(gpus=False))
    path = None if cache is None else cache / f"{digest}.json"
    found = None if path is None else _read(path, shape, threads)
    if found is None:
        found = _measure(shape, threads, amx_fallback(cache) is None, efforts, progress)
        if path is not None and found.is_quiet:
            keep_json(path, found.to_json())
    return found


def _measure(
    shape: DecodeShape, threads: int, rearrange: bool, efforts: Efforts, progress: ProgressSink
) -> DecodeSpeed:
    from edgellm.runtimes.llama_cpp.attention_timing import measure_attention
    from edgellm.runtimes.llama_cpp.layer_timing import FEW_LAYERS, MANY_LAYERS, measure_layers
    from edgellm.runtimes.llama_cpp.weight_timing import measure_weights

    tables = load_tables()
    caches = [row for row in tables.kv_formats.values() if row.divides(shape.head_dim)]
    layers = measure_layers(threads, effort=efforts.layers, progress=progress)
    with Processor(threads) as processor:
        weights = measure_weights(
            processor,
            tables.weight_formats.values(),
            shape.weights_bytes,
            rearrange=rearrange,
            effort=efforts.weights,
            progress=progress,
        )
        attention = measure_attention(
            processor,
            [(key, value) for key in caches for value in caches],
            shape,
            effort=efforts.attention,
            progress=progress,
        )
    few, many = layers[FEW_LAYERS].value, layers[MANY_LAYERS].value
    layer_seconds = max(many - few, 0.0) / (MANY_LAYERS - FEW_LAYERS)
    every = [*weights.values(), *attention.values(), *layers.values()]
    return DecodeSpeed(
        threads=threads,
        shape=shape,
        weight_seconds=MappingProxyType({name: m.value for name, m in weights.items()}),
        attention_seconds=_by_key(attention),
        layer_seconds=layer_seconds,
        token_seconds=max(few - FEW_LAYERS * layer_seconds, 0.0),
        spread=statistics.median(measured.spread for measured in every),
    )


def _by_key(pairs: Mapping[tuple[str, str], Measured]) -> Mapping[str, Mapping[str, float]]:
    keys = dict.fromkeys(key for key, _ in pairs)
    return MappingProxyType(
        {key: {v: found.value for (k, v), found in pairs.items() if k == key} for key in keys}
    )


def _digest(shape: DecodeShape, threads: int, hardware: Hardware) -> str:
    """What a finding holds for: the machine, the engine, the method, and what was asked."""
    system = llama.llama_print_system_info().decode("utf-8", "replace")
    engine = (version("llama-cpp-python"), system)
    machine = (hardware.processor, hardware.machine, hardware.logical_cores)
    facts = (_METHOD, machine, engine, threads, shape.to_json())
    return hashlib.sha256(repr(facts).encode()).hexdigest()


def _read(path: Path, shape: DecodeShape, threads: int) -> DecodeSpeed | None:
    try:
        speed = DecodeSpeed.from_json(json.loads(path.read_bytes()), str(path))
    except (OSError, ValueError, FormatError):
        return None
    return speed if (speed.shape, speed.threads) == (shape, threads) else None
