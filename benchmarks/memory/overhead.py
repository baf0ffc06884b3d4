"""Measures what quant_tables/engines.toml says of llama.cpp's overhead (Linux).

python -m benchmarks.memory.overhead
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import gguf

from benchmarks.memory.dry_run import write_hollow_gguf
from benchmarks.memory.peak import peak_of
from benchmarks.report import write_result
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables
from tests.support.specs import make_spec

_LAYERS = (8, 88)
_VOCABULARIES = (16_000, 150_000)
# Loads a model (with a context, unless only its vocabulary) and prints the growth of the peak.
_CHILD = """
import sys
from pathlib import Path
import llama_cpp.llama_cpp as llama
def peak():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])
drop = llama.llama_log_callback(lambda *_: None)
llama.llama_log_set(drop, None)
llama.llama_backend_init()
params = llama.llama_model_default_params()
params.load_mode, params.vocab_only = llama.LLAMA_LOAD_MODE_NONE, sys.argv[2] == "vocabulary"
before = peak()
model = llama.llama_model_load_from_file(sys.argv[1].encode(), params)
assert model
if sys.argv[2] == "model":
    settings = llama.llama_context_default_params()
    settings.n_ctx = settings.n_batch = settings.n_ubatch = 32
    context = llama.llama_init_from_model(model, settings)
    llama.llama_decode(context, llama.llama_batch_get_one((llama.llama_token * 1)(7), 1))
print(peak() - before)
"""


def growth(path: Path, what: str) -> int:
    command = [sys.executable, "-c", _CHILD, str(path), what]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def layer_bytes(scratch: Path) -> float:
    """Bookkeeping of one block: growth between two depths, less the weights and the cache."""
    tables, found = load_tables(), []
    for layers in _LAYERS:
        spec = make_spec(layers=layers, hidden=64, ffn=128, heads=1, kv_heads=1)
        plan = uniform_plan(spec, "q8_0", Budget(256), tables)
        path = scratch / "layers.gguf"
        write_hollow_gguf(path, spec, plan, tables)
        cache_bytes = 2 * 2 * layers * 256 * spec.kv_width  # float16, the context's default
        found.append(growth(path, "model") - plan.memory.weights_bytes - cache_bytes)
    return (found[1] - found[0]) / (_LAYERS[1] - _LAYERS[0])


def vocabulary_entry_bytes(scratch: Path) -> float:
    """One byte-level BPE token with its merge."""
    found = []
    for size in _VOCABULARIES:
        path = scratch / "vocabulary.gguf"
        write_vocabulary(path, size)
        found.append(growth(path, "vocabulary"))
    return (found[1] - found[0]) / (_VOCABULARIES[1] - _VOCABULARIES[0])


def write_vocabulary(path: Path, size: int) -> None:
    """A GGUF with nothing but made-up tokens and merges of common lengths."""
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_block_count(1)
    writer.add_feed_forward_length(64)
    writer.add_head_count(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(size)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([f"w{index:07}" for index in range(size)])
    writer.add_token_types([1] * size)
    writer.add_token_merges([f"w{index // 1000} {index:07}" for index in range(size)])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    writer.close()


def process_bytes() -> int:
    """The command line with the engine's libraries loaded, and no model."""
    code = "import edgellm.apps.cli.run, edgellm.runtimes.llama_cpp.runtime as r; r.load_library()"
    return peak_of([sys.executable, "-c", code], "")[1]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        figures = {
            "process_bytes": process_bytes(),
            "layer_bytes": layer_bytes(scratch),
            "vocab_entry_bytes": vocabulary_entry_bytes(scratch),
        }
    print(json.dumps(figures, indent=1))
    write_result("memory_overhead", figures)


if __name__ == "__main__":
    main()
