"""Measures what quant_tables/engines.toml says of llama.cpp's overhead (Linux).

python -m benchmarks.memory.overhead
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import gguf

from benchmarks.memory.checkpoints import made_up_tokens
from benchmarks.memory.dry_run import write_hollow_gguf
from benchmarks.memory.watched_run import watched_run
from benchmarks.report import write_result
from edgellm.bundled import bundled_checkpoint
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.families import read_spec
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables
from tests.support.specs import make_spec

_LAYERS = (8, 88)
_VOCABULARIES = (16_000, 150_000)
# Loads a model (with a context, unless only its vocabulary), gives back what was freed, and prints
# how far the resident bytes have grown, and how far their peak was above where they began.
_CHILD = """
import ctypes, sys
from pathlib import Path
import llama_cpp.llama_cpp as llama
def now(what):
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split(what + ":")[1].split()[0])
drop = llama.llama_log_callback(lambda *_: None)
llama.llama_log_set(drop, None)
llama.llama_backend_init()
params = llama.llama_model_default_params()
params.load_mode, params.vocab_only = llama.LLAMA_LOAD_MODE_NONE, sys.argv[2] == "vocabulary"
before = now("VmRSS")
model = llama.llama_model_load_from_file(sys.argv[1].encode(), params)
assert model
getattr(ctypes.CDLL(None), "malloc_trim", lambda _: None)(0)
if sys.argv[2] == "model":
    settings = llama.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = 32
    context = llama.llama_init_from_model(model, settings)
    llama.llama_decode(context, llama.llama_batch_get_one((llama.llama_token * 1)(7), 1))
print(now("VmRSS") - before, now("VmHWM") - before)
"""


@dataclass(frozen=True, slots=True)
class Growth:
    """Bytes by which loading a file made a process grow."""

    standing_bytes: int
    peak_bytes: int


def growth(path: Path, what: str) -> Growth:
    """what: "model", or "vocabulary" alone."""
    command = [sys.executable, "-c", _CHILD, str(path), what]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return Growth(*map(int, found.split()))


def layer_bytes(scratch: Path) -> float:
    """Bookkeeping of one block: growth between two depths, less the weights and the cache."""
    tables, found = load_tables(), []
    for layers in _LAYERS:
        spec = make_spec(layers=layers, hidden=64, ffn=128, heads=1, kv_heads=1)
        plan = uniform_plan(spec, "q8_0", Budget(256), tables)
        path = scratch / "layers.gguf"
        write_hollow_gguf(path, spec, plan, tables)
        cache_bytes = 2 * 2 * layers * 256 * spec.kv_width  # float16, the context's default
        found.append(growth(path, "model").standing_bytes - plan.memory.weights_bytes - cache_bytes)
    return (found[1] - found[0]) / (_LAYERS[1] - _LAYERS[0])


def vocabulary(scratch: Path, write: Callable[[Path, int], None]) -> dict[str, float]:
    """What a vocabulary takes: whatever its size, a token, and a token while it is loaded."""
    path, found = scratch / "vocabulary.gguf", []
    for size in _VOCABULARIES:
        write(path, size)
        found.append(growth(path, "vocabulary"))
    small, large = (each.standing_bytes for each in found)
    token_bytes = (large - small) / (_VOCABULARIES[1] - _VOCABULARIES[0])
    return {
        "any_size_bytes": small - token_bytes * _VOCABULARIES[0],
        "token_bytes": token_bytes,
        "token_loading_bytes": (found[1].peak_bytes - large) / _VOCABULARIES[1],
    }


def write_byte_level_gguf(path: Path, size: int) -> None:
    """A GGUF with nothing but a byte-level BPE vocabulary."""
    tokens, merges = made_up_tokens(size)
    writer = _vocabulary_writer(path, "gpt2", tokens)
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_merges([" ".join(pair) for pair in merges])
    _write(writer)


def write_sentencepiece_gguf(path: Path, size: int) -> None:
    """A GGUF with nothing but a sentencepiece vocabulary of made-up words."""
    writer = _vocabulary_writer(path, "llama", [f"\u2581w{index:07}" for index in range(size)])
    writer.add_token_scores([-float(index) for index in range(size)])
    _write(writer)


def _vocabulary_writer(path: Path, model: str, tokens: list[str]) -> gguf.GGUFWriter:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types([1] * len(tokens))
    return writer


def _write(writer: gguf.GGUFWriter) -> None:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def process_bytes(scratch: Path) -> int:
    """What `edgellm run` of the bundled model takes beyond the other parts of its plan."""
    tables = load_tables()
    checkpoint = open_checkpoint(bundled_checkpoint())
    spec = read_spec(checkpoint)
    plan = uniform_plan(spec, "q8_0", Budget(1024), tables)
    artifact = convert(checkpoint, spec, plan, scratch / "artifact", tables=tables)
    engine = tables.engines[plan.engine]
    others_bytes = plan.memory.total_bytes - engine.process_bytes - engine.reserve_bytes
    return watched_run(artifact.folder, plan.kv.context).peak_bytes - others_bytes


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        figures = {
            "process_bytes": process_bytes(scratch),
            "layer_bytes": layer_bytes(scratch),
            "byte_level": vocabulary(scratch, write_byte_level_gguf),
            "sentencepiece": vocabulary(scratch, write_sentencepiece_gguf),
        }
    print(json.dumps(figures, indent=1))
    write_result("memory_overhead", figures)


if __name__ == "__main__":
    main()
