"""One `edgellm run` that writes down what it took, part by part (Linux).

As a program: python -m benchmarks.memory.watched_run REPORT run ARTIFACT ...
"""

import json
import re
import runpy
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

_WEIGHTS = re.compile(r"model buffer size = +([\d.]+) MiB")
_MIB = 2**20
_TEXT = "It was a bright cold day, and the clocks of the old town were striking. "
_SPARE_TOKENS = 16  # of the context, left for a BOS and the answer
_ANSWER_TOKENS = 12


@dataclass(frozen=True, slots=True)
class Measured:
    """Bytes a run took; buffers as llama.cpp logs them, to the 0.01 MiB that it prints."""

    weights_bytes: int  # with the copies that it rearranged
    kv_cache_bytes: int
    compute_bytes: int  # without the CPU's work rows and the sampler, which it does not log
    peak_bytes: int  # resident
    tokens: int  # prompt and answer

    @property
    def overhead_bytes(self) -> int:
        return self.peak_bytes - self.weights_bytes - self.kv_cache_bytes - self.compute_bytes

    def to_json(self) -> dict[str, int]:
        """With the names of the prediction."""
        from edgellm.plan import MemoryParts  # not before the watched run itself needs it

        parts = (self.weights_bytes, self.kv_cache_bytes, self.compute_bytes, self.overhead_bytes)
        return MemoryParts(*parts).to_json()


def watched_run(artifact: Path, context: int, tokens: int | None = None) -> Measured:
    """Run the artifact on one thread, with a prompt and an answer that fill it.

    tokens: of prompt and answer, where they shall not fill the context. The peak is that of the
    worker process, as users run it; what llama.cpp logs is read where it works beside us.
    """
    options = ["--json", "--raw", "--context", str(context), "--max-tokens", str(_ANSWER_TOKENS)]
    options += ["--threads", "1"]
    prompt = filling_prompt(artifact / "model.gguf", (tokens or context) - _SPARE_TOKENS)
    reports, answer = {}, {}
    for isolation in ("none", "process"):
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.json"
            module = [sys.executable, "-m", "benchmarks.memory.watched_run", str(report)]
            command = [*module, "run", str(artifact), *options, "--isolation", isolation]
            done = subprocess.run(command, input=prompt, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(done.stderr)
            reports[isolation] = json.loads(report.read_text(encoding="utf-8"))
            answer = json.loads(done.stdout)
    figures = reports["none"] | reports["process"]
    return Measured(**figures, tokens=answer["prompt_tokens"] + answer["generated_tokens"])


def filling_prompt(gguf: Path, tokens: int) -> str:
    """The longest text of a repeated sentence that has at most so many tokens."""
    import llama_cpp

    drop = llama_cpp.llama_log_callback(lambda _level, _text, _user: None)
    llama_cpp.llama_log_set(drop, None)
    params = llama_cpp.llama_model_default_params()
    params.vocab_only = True
    model = llama_cpp.llama_model_load_from_file(str(gguf).encode(), params)
    vocab, room = llama_cpp.llama_model_get_vocab(model), (llama_cpp.llama_token * (2 * tokens))()
    text = _TEXT * (tokens // 4)

    def fits(characters: int) -> bool:
        raw = text[:characters].encode()
        count = llama_cpp.llama_tokenize(vocab, raw, len(raw), room, len(room), False, True)
        return bool(0 <= count <= tokens)

    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    llama_cpp.llama_model_free(model)
    return text[:low]


def _logged() -> dict[str, int]:
    """Where the engine worked in this process: the buffers it has logged."""
    from edgellm.runtimes.llama_cpp.library import load_library
    from edgellm.runtimes.llama_cpp.logged_memory import logged_bytes

    lines = load_library().lines_since(0)
    kv_cache_bytes, compute_bytes = logged_bytes(lines)
    weights_mib = (float(found[1]) for line in lines if (found := _WEIGHTS.search(line)))
    return {
        "weights_bytes": round(sum(weights_mib) * _MIB),
        "kv_cache_bytes": kv_cache_bytes,
        "compute_bytes": compute_bytes,
    }


def _report_at_the_end(path: Path) -> None:
    """Write down what there is to know just before the model is closed."""
    from edgellm.runtimes.api.model import Model
    from edgellm.runtimes.worker.connection import WorkerConnection

    close = Model.close

    def report_and_close(model: Model) -> None:
        connection = model._client._connection
        if isinstance(connection, WorkerConnection):
            status = Path(f"/proc/{connection.pid}/status").read_text(encoding="utf-8")
            figures = {"peak_bytes": 1024 * int(status.split("VmHWM:")[1].split()[0])}
        else:
            figures = _logged()
        path.write_text(json.dumps(figures), encoding="utf-8")
        close(model)

    Model.close = report_and_close  # type: ignore[method-assign, assignment]


if __name__ == "__main__":
    _report_at_the_end(Path(sys.argv.pop(1)))
    runpy.run_module("edgellm", run_name="__main__", alter_sys=True)
