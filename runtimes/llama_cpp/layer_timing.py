"""What a layer and a token cost besides matrices and cache: two models that have next to none."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from time import perf_counter

import gguf
import numpy as np

from edgellm.progress import ProgressSink
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.bindings import llama
from edgellm.runtimes.llama_cpp.context import Context
from edgellm.runtimes.llama_cpp.library import load_library
from edgellm.runtimes.llama_cpp.loading import load_weights, make_context
from edgellm.runtimes.llama_cpp.preconditions import KVFormats, allowed_kv_formats
from edgellm.runtimes.llama_cpp.timing import Effort, Measured, Stage, measure_in_turn
from edgellm.runtimes.protocol import ignore_events

_WIDTH = 64  # of everything; the narrowest head that llama.cpp rotates before it caches it
_VOCABULARY = 32
_CONTEXT = 256  # the least that llama.cpp pads to
FEW_LAYERS, MANY_LAYERS = 2, 18


def measure_layers(threads: int, *, effort: Effort, progress: ProgressSink) -> dict[int, Measured]:
    """Seconds of a token in narrow models, by their layers: FEW_LAYERS and MANY_LAYERS."""
    with ExitStack() as undo:
        folder = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="edgellm-speed-")))
        timers = {}
        for layers in (FEW_LAYERS, MANY_LAYERS):
            path = folder / f"{layers}.gguf"
            write_narrow_model(path, layers)
            timers[layers] = _Decoding(_open_context(path, threads, undo)).sample
        read_bytes = sum(path.stat().st_size for path in folder.iterdir())
        return measure_in_turn(timers, effort, Stage("layers", read_bytes, progress))


def write_narrow_model(path: Path, layers: int) -> None:
    """A llama without a vocabulary whose matrices are _WIDTH wide, all float32."""
    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_block_count(layers)
    writer.add_context_length(_CONTEXT)
    writer.add_embedding_length(_WIDTH)
    writer.add_feed_forward_length(_WIDTH)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(_VOCABULARY)
    writer.add_tokenizer_model("no_vocab")
    rng = np.random.default_rng(0)
    for name, shape in _shapes(layers).items():
        writer.add_tensor(name, rng.standard_normal(shape, dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _shapes(layers: int) -> dict[str, tuple[int, ...]]:
    square = (_WIDTH, _WIDTH)
    matrices = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")
    block = dict.fromkeys(matrices, square) | {"attn_norm": (_WIDTH,), "ffn_norm": (_WIDTH,)}
    shapes: dict[str, tuple[int, ...]] = {
        f"blk.{layer}.{name}.weight": shape
        for layer in range(layers)
        for name, shape in block.items()
    }
    shapes["token_embd.weight"] = (_VOCABULARY, _WIDTH)
    return shapes | {"output_norm.weight": (_WIDTH,)}


def _open_context(path: Path, threads: int, undo: ExitStack) -> Context:
    library, cache = load_library(), allowed_kv_formats()["q8_0"]
    model = load_weights(
        library,
        path,
        gpu_layers=0,
        extra_buffers=False,
        adds_space_prefix=True,
        on_event=ignore_events,
        cancel=CancelToken(),
    )
    undo.callback(llama.llama_model_free, model)
    context = make_context(
        library,
        model,
        KVFormats(cache, cache),
        context_tokens=_CONTEXT,
        ubatch=1,
        threads=threads,
    )
    undo.callback(context.close)
    return context


class _Decoding:
    """Decodes one token after the other until the cache is full, then starts again."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._held = 0

    def sample(self) -> float:
        """Seconds of the next token."""
        if self._held == _CONTEXT:
            self._context.clear()
            self._held = 0
        started = perf_counter()
        self._context.decode_one(self._held % _VOCABULARY)
        self._held += 1
        return perf_counter() - started
