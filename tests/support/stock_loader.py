"""llama-cpp-python's own `Llama` class in a process of its own, as someone without edgellm uses it.

Run as a script: GGUF file, tokens as JSON, .npy file for the logits.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def stock_logits(gguf: Path, tokens: list[int]) -> NDArray[np.float32]:
    """Logits at every position: [len(tokens), vocabulary]."""
    out = gguf.with_suffix(".npy")
    command = [sys.executable, __file__, str(gguf), json.dumps(tokens), str(out)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    logits: NDArray[np.float32] = np.load(out)
    return logits


def _write_logits(gguf: str, tokens: list[int], out: str) -> None:
    from llama_cpp import Llama

    model = Llama(
        gguf,
        n_ctx=len(tokens),
        n_threads=1,
        n_threads_batch=1,
        n_gpu_layers=0,
        flash_attn=True,
        logits_all=True,
        verbose=False,
    )
    model.eval(tokens)
    np.save(out, model.scores)


if __name__ == "__main__":
    _write_logits(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3])
