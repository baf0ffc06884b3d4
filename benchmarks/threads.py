"""When a second thread pays: `python -m benchmarks.threads`.

Decode of random models of several sizes at Q8_0, one and two threads in alternating rounds. A
barrier between threads costs the same for every operation, so small models lose by it.
"""

import statistics
import tempfile
from pathlib import Path

from benchmarks.report import write_result
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.gguf.convert import convert
from edgellm.events import Done
from edgellm.families import read_spec
from edgellm.plan import Budget
from edgellm.planner import uniform_plan
from edgellm.quant_tables import load_tables
from edgellm.runtimes import open_runtime
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import Request
from tests.support.checkpoints import write_checkpoint

SHAPES = {256: 4, 384: 6, 512: 8, 768: 12, 1024: 16}  # hidden size: layers
ROUNDS, TOKENS = 5, 48


def make_model(folder: Path, hidden: int, layers: int) -> Path:
    """A random llama of that width as a Q8_0 artifact; returns the GGUF."""
    source = write_checkpoint(
        folder / f"source-{hidden}",
        dtype="F16",
        tokenizer=True,
        hidden_size=hidden,
        intermediate_size=3 * hidden,
        num_hidden_layers=layers,
        num_attention_heads=hidden // 64,
        num_key_value_heads=hidden // 128,
    )
    checkpoint = open_checkpoint(source)
    spec, tables = read_spec(checkpoint), load_tables()
    plan = uniform_plan(spec, "q8_0", Budget(256), tables)
    return convert(checkpoint, spec, plan, folder / str(hidden), tables=tables).gguf


def decode_rate(path: Path, threads: int) -> float:
    """Tokens per second of one greedy answer."""
    sampling = SamplingOptions(temperature=0, max_tokens=TOKENS)
    options = LoadOptions(context=256, threads=threads)
    with open_runtime("llama.cpp").load(path, options, lambda event: None) as model:
        *_, done = model.generate(Request("The old house stood", sampling))
    assert isinstance(done, Done)
    return done.timings.rate(done.usage.generated_tokens, done.timings.decode_s)


def main() -> None:
    figures = []
    with tempfile.TemporaryDirectory() as name:
        for hidden, layers in SHAPES.items():
            path = make_model(Path(name), hidden, layers)
            decode_rate(path, 1)
            pairs = [(decode_rate(path, 1), decode_rate(path, 2)) for _ in range(ROUNDS)]
            row = {
                "file_mib": round(path.stat().st_size / 2**20, 1),
                "one_thread_tokens_per_s": round(statistics.median(one for one, _ in pairs), 1),
                "two_over_one": [round(two / one, 2) for one, two in pairs],
                "two_over_one_median": round(statistics.median(two / one for one, two in pairs), 2),
            }
            figures.append(row)
            print(row)
    print(write_result("threads", {"rows": figures}))


if __name__ == "__main__":
    main()
