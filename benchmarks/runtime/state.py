"""What a saved conversation costs, and what it spares: `python -m benchmarks.runtime.state TEXT`.

The bundled model at Q8_0 and a random, wider one read the beginning of TEXT, save its KV cache, and
restore it after another load. Medians of alternating rounds, one thread. The first save of a model
hashes its file as well; later ones know the hash.
"""

import argparse
import statistics
import tempfile
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.report import write_result
from benchmarks.threads import make_model
from edgellm.bundled import bundled_checkpoint
from edgellm.events import Done
from edgellm.runtimes import open_runtime
from edgellm.runtimes.options import LoadOptions, SamplingOptions
from edgellm.runtimes.protocol import LoadedModel, Request
from tests.support.conversions import convert_folder

ROUNDS = 5
FORMATS = ("q8_0", "f16")


@dataclass(frozen=True, slots=True)
class Round:
    """One reading, one saving, one restoring."""

    tokens: int
    file_bytes: int
    prefill_s: float
    save_s: float
    restore_s: float


def measure(gguf: Path, text: str, kv: str, home: Path) -> Round:
    runtime, state = open_runtime("llama.cpp", home / "cache"), home / "state"
    options = LoadOptions(key_format=kv, value_format=kv, threads=1)
    with runtime.load(gguf, options) as model:
        prefill_s = _prefill_s(model, text)
        began = perf_counter()
        tokens = model.save_state(text, state)
        save_s = perf_counter() - began
    with runtime.load(gguf, options) as model:
        began = perf_counter()
        assert model.restore_state(state) == tokens
        restore_s = perf_counter() - began
        *_, done = model.generate(Request(text, SamplingOptions(max_tokens=1)))
        assert isinstance(done, Done)
        assert done.usage.cached_tokens == done.usage.prompt_tokens - 1
    return Round(tokens, state.stat().st_size, prefill_s, save_s, restore_s)


def _prefill_s(model: LoadedModel, text: str) -> float:
    *_, done = model.generate(Request(text, SamplingOptions(max_tokens=1)))
    assert isinstance(done, Done)
    return done.timings.prefill_s


def compare(name: str, gguf: Path, text: str) -> list[dict[str, object]]:
    """A row for each KV format."""
    with tempfile.TemporaryDirectory() as folder:
        first = measure(gguf, text, FORMATS[0], Path(folder))
        rounds: dict[str, list[Round]] = {kv: [] for kv in FORMATS}
        for _ in range(ROUNDS):
            for kv, turns in rounds.items():
                turns.append(measure(gguf, text, kv, Path(folder)))
    return [_row(name, gguf, kv, turns, first.save_s) for kv, turns in rounds.items()]


def _row(
    name: str, gguf: Path, kv: str, rounds: list[Round], first_save_s: float
) -> dict[str, object]:
    prefill_s, save_s, restore_s = (
        statistics.median(getattr(one, field) for one in rounds)
        for field in ("prefill_s", "save_s", "restore_s")
    )
    row = {
        "model": name,
        "model_mib": round(gguf.stat().st_size / 2**20, 1),
        "kv": kv,
        "tokens": rounds[0].tokens,
        "file_bytes": rounds[0].file_bytes,
        "bytes_per_token": round(rounds[0].file_bytes / rounds[0].tokens),
        "prefill_ms": round(1000 * prefill_s, 1),
        "save_ms": round(1000 * save_s, 1),
        "first_save_ms": round(1000 * first_save_s, 1),
        "restore_ms": round(1000 * restore_s, 1),
        "restore_over_prefill": round(restore_s / prefill_s, 3),
    }
    print(row, flush=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("text", type=Path)
    text = parser.parse_args().text.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        bundled = convert_folder(bundled_checkpoint(), Path(folder) / "bundled", "q8_0").gguf
        rows = compare("novelist-7m", bundled, text[:5000])
        rows += compare("random, 16 layers", make_model(Path(folder), 1024, 16), text[:1200])
    print(write_result("state", {"threads": 1, "rounds": ROUNDS, "rows": rows}))


if __name__ == "__main__":
    main()
