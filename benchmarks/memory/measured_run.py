"""Loads a GGUF, fills its whole context and prints this process's peak memory as JSON.

Run it in a process of its own:
    python -m benchmarks.memory.measured_run MODEL CONTEXT UBATCH K_TYPE V_TYPE MMAP EXTRA_BUFFERS
"""

import ctypes
import json
import sys
from pathlib import Path

import llama_cpp

from benchmarks.memory.dry_run import ContextSettings, context_params


def resident() -> dict[str, int]:
    """Resident bytes of this process, by kind (Linux)."""
    names = {"VmHWM": "peak", "VmRSS": "now", "RssAnon": "private", "RssFile": "mapped"}
    found = {}
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, rest = line.partition(":")
        if key in names:
            found[names[key]] = int(rest.split()[0]) * 1024
    return found


def quiet() -> None:
    """Drop the engine's log; the callback must outlive the calls, so it is kept on the module."""
    llama_cpp.llama_log_set(_SILENCE, None)


@llama_cpp.llama_log_callback
def _SILENCE(_level: int, _text: bytes, _user: object) -> None:  # noqa: N802
    pass


def load(path: str, *, mmap: bool, extra_buffers: bool) -> ctypes.c_void_p:
    params = llama_cpp.llama_model_default_params()
    params.n_gpu_layers = 0
    params.load_mode = llama_cpp.LLAMA_LOAD_MODE_MMAP if mmap else llama_cpp.LLAMA_LOAD_MODE_NONE
    params.use_extra_bufts = extra_buffers
    model = llama_cpp.llama_model_load_from_file(path.encode(), params)
    if not model:
        raise RuntimeError(f"{path} does not load")
    return model


def fill(context: ctypes.c_void_p, tokens: int, ubatch: int) -> None:
    """Decode `tokens` tokens, all but the last few in whole ubatches."""
    done = 0
    while done < tokens:
        count = min(ubatch, tokens - done) if tokens - done > 4 else 1
        ids = (llama_cpp.llama_token * count)(*([7] * count))
        if llama_cpp.llama_decode(context, llama_cpp.llama_batch_get_one(ids, count)):
            raise RuntimeError(f"decode failed after {done} tokens")
        done += count


def main() -> None:
    path, context, ubatch, key, value, mmap, extra = sys.argv[1:8]
    report = {"libraries": resident()}
    quiet()
    llama_cpp.llama_backend_init()
    report["backend"] = resident()
    model = load(path, mmap=mmap == "1", extra_buffers=extra == "1")
    report["model"] = resident()
    settings = ContextSettings(int(context), int(ubatch), int(key), int(value), 1)
    params = context_params(settings)
    params.n_threads = params.n_threads_batch = 2
    engine = llama_cpp.llama_init_from_model(model, params)
    report["context"] = resident()
    fill(engine, int(context), int(ubatch))
    report["full"] = resident()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
