"""What sequences that wait in the KV cache cost the one that goes on: seconds for each token.

python -m benchmarks.runtime.parked_sequences [--rounds N]

The same sequence is continued alone and beside seven others, in turn.
"""

import argparse
import statistics
import tempfile
from pathlib import Path
from time import perf_counter

from benchmarks.report import write_result
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.llama_cpp.sequences import PARKED
from edgellm.runtimes.options import LoadOptions
from tests.support.gguf import TinyLlama

HELD, PARKED_TOKENS, STEPS, UBATCH = 512, 1024, 32, 256
CONTEXT = 16384
MODEL = TinyLlama(hidden=512, heads=8, kv_heads=2, ffn=1024, layers=2, context=CONTEXT)


def fill(model: LlamaCppModel, first: int, count: int) -> None:
    """Begin a new sequence of so many tokens."""
    tokens = [first] + [100 + i % 50 for i in range(count - 1)]
    sequence = model._sequences.begin(tokens)
    while len(sequence.tokens) < count:
        done = len(sequence.tokens)
        assert sequence.append(tokens[done : done + UBATCH])


def seconds(model: LlamaCppModel) -> float:
    """Median of one token more, and of an ubatch more, of the sequence held."""
    sequence, samples = model._sequences.current, []
    for _ in range(STEPS):
        began = perf_counter()
        assert sequence.append_one(99)
        samples.append(perf_counter() - began)
    sequence.cut(HELD)
    return statistics.median(samples)


def compare(path: Path, kv: str, rounds: int) -> dict[str, float]:
    alone, beside = [], []
    options = LoadOptions(context=CONTEXT, key_format=kv, value_format=kv, threads=1)
    with LlamaCppRuntime().load(path, options) as model:
        for _ in range(rounds):
            while model._sequences._drop_oldest():
                pass
            fill(model, 99, HELD)
            alone.append(seconds(model))
            for number in range(PARKED):
                fill(model, 10 + number, PARKED_TOKENS)
            fill(model, 99, HELD)
            beside.append(seconds(model))
    median = statistics.median(b / a for a, b in zip(alone, beside, strict=True))
    return {"alone_s": statistics.median(alone), "beside_over_alone": median}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        path = MODEL.write(Path(scratch) / "model.gguf")
        figures = {kv: compare(path, kv, options.rounds) for kv in ("f16", "q8_0")}
    print(figures)
    write_result("parked_sequences", {"rounds": options.rounds, "decode": figures})


if __name__ == "__main__":
    main()
