"""One conversion in a process of its own, so that its memory is its own too.

`python -m benchmarks.convert.worker KIND SOURCE OUT THREADS` prints the seconds it took, imports
left out. KIND: "edgellm" (checkpoint to the mixed plan), "bf16" (checkpoint to the file that
llama.cpp starts from), "llama.cpp" (that file to the same types).
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

FORMAT, HEAD_FORMAT = "q4_K", "q6_K"


def edgellm(source: Path, out: Path, threads: int, name: str, head: str) -> Callable[[], object]:
    from edgellm.checkpoint import open_checkpoint
    from edgellm.converters.gguf.convert import convert
    from edgellm.families import read_spec
    from edgellm.quant_tables import load_tables
    from edgellm.spec import Role
    from tests.support.plans import fixed_plan

    checkpoint, tables = open_checkpoint(source), load_tables()
    spec = read_spec(checkpoint)
    plan = fixed_plan(spec, tables, name, {Role.OUTPUT: head})
    return lambda: convert(checkpoint, spec, plan, out, tables=tables, threads=threads)


def llama_cpp(source: Path, out: Path, threads: int) -> Callable[[], object]:
    from gguf import GGUFReader

    from edgellm.quant_tables import load_tables
    from tests.support.llama_cpp_reference import llama_model_quantize

    formats = load_tables().weight_formats
    types = {
        str(tensor.name): formats[FORMAT].ggml_type
        for tensor in GGUFReader(source).tensors
        if len(tensor.shape) == 2
    }
    types["output.weight"] = formats[HEAD_FORMAT].ggml_type
    return lambda: llama_model_quantize(source, out, types, threads)


def main(kind: str, source: Path, out: Path, threads: int) -> None:
    if kind == "llama.cpp":
        run = llama_cpp(source, out, threads)
    elif kind == "edgellm":
        run = edgellm(source, out, threads, FORMAT, HEAD_FORMAT)
    else:
        run = edgellm(source, out, threads, "bf16", "bf16")
    began = time.perf_counter()
    run()
    print(time.perf_counter() - began)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
