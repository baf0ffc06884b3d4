"""Which batches round like single tokens, against llama.cpp's own logits."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgellm.bundled import bundled_checkpoint
from edgellm.errors import Cancelled
from edgellm.events import Event, LoadProgress
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.llama_cpp.speculation.trial import SIZES, BatchTrial, try_batches
from edgellm.runtimes.options import LoadOptions
from tests.support.conversions import convert_folder

GUESSING = LoadOptions(threads=1, context=512, ubatch=64, speculate="ngram")


def rows(model: LlamaCppModel, tokens: list[int], sizes: list[int]) -> NDArray[np.float32]:
    """Logits of each token, decoded in batches of these sizes."""
    model._context.clear()
    found, place = [], 0
    for size in sizes:
        model._context.decode(tokens[place : place + size], range(size))
        found.append(model._context.logits(model._vocabulary.n_tokens, size).copy())
        place += size
    model._context.clear()
    return np.concatenate(found)


@pytest.fixture(scope="module", params=["q8_0", "q4_K", "f16"])
def novelist(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    return convert_folder(bundled_checkpoint(), folder / "out", request.param).gguf


def test_sizes_called_exact_have_the_logits_of_single_tokens_and_the_others_do_not(
    novelist: Path,
) -> None:
    tokens = [1, *range(300, 363)]
    with LlamaCppRuntime().load(novelist, GUESSING) as model:
        trial = try_batches(model._context, model._vocabulary.n_tokens, CancelToken())
        single = rows(model, tokens, [1] * 64)
        for size in SIZES:
            whole = [size] * (64 // size) + [1] * (64 % size)
            same = np.array_equal(rows(model, tokens, whole), single)
            assert same == (size in trial.exact)
    assert set(trial.seconds) == {1, *SIZES}


def test_a_trial_is_made_once_and_then_remembered(tmp_path: Path, tiny_gguf: Path) -> None:
    runtime = LlamaCppRuntime(tmp_path)
    runtime.load(tiny_gguf, GUESSING).close()
    (kept,) = (tmp_path / "batches").iterdir()
    document = json.loads(kept.read_text(encoding="utf-8"))
    document["seconds"]["16"] = 1234.0
    kept.write_text(json.dumps(document), encoding="utf-8")
    with runtime.load(tiny_gguf, GUESSING) as model:
        assert model._speculation is not None
        assert model._speculation._costs.seconds()[16] == 1234.0
    kept.write_text("{", encoding="utf-8")
    runtime.load(tiny_gguf, GUESSING).close()
    assert BatchTrial.from_json(json.loads(kept.read_bytes()), "").seconds[16] < 1234.0


def test_sizes_for_which_there_was_no_time_are_tried_at_the_next_load(
    tmp_path: Path, tiny_gguf: Path
) -> None:
    runtime = LlamaCppRuntime(tmp_path)
    runtime.load(tiny_gguf, GUESSING).close()
    (kept,) = (tmp_path / "batches").iterdir()
    whole = json.loads(kept.read_text(encoding="utf-8"))
    part = {name: {"1": found["1"], "2": found["2"]} for name, found in whole.items()}
    kept.write_text(json.dumps(part), encoding="utf-8")
    runtime.load(tiny_gguf, GUESSING).close()
    again = json.loads(kept.read_text(encoding="utf-8"))
    assert again["exact"] == whole["exact"]
    assert again["seconds"]["2"] == whole["seconds"]["2"]
    assert set(again["seconds"]) == set(whole["seconds"])


def test_a_trial_without_time_tries_the_small_sizes_only(tiny_gguf: Path) -> None:
    with LlamaCppRuntime().load(tiny_gguf, GUESSING) as model:
        n_vocab = model._vocabulary.n_tokens
        trial = try_batches(model._context, n_vocab, CancelToken(), limit_s=0.0)
    assert set(trial.seconds) == {1, 2, 3, 4}


def test_a_trial_that_is_cancelled_leaves_nothing_behind(tmp_path: Path, tiny_gguf: Path) -> None:
    cancel = CancelToken()

    def stop(event: Event) -> None:
        if isinstance(event, LoadProgress) and event.fraction == 1:
            cancel.cancel()

    with pytest.raises(Cancelled):
        LlamaCppRuntime(tmp_path).load(tiny_gguf, GUESSING, stop, cancel)
    assert not (tmp_path / "batches").exists()


def test_a_cancelled_trial_ends_at_once(tiny_gguf: Path) -> None:
    cancel = CancelToken()
    cancel.cancel()
    with LlamaCppRuntime().load(tiny_gguf, GUESSING) as model:
        trial = try_batches(model._context, model._vocabulary.n_tokens, cancel)
    assert not trial.exact
    assert set(trial.seconds) <= {1}


def test_a_trial_does_without_numpy(tiny_gguf: Path) -> None:
    probe = (
        "import sys; from pathlib import Path;"
        "from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime;"
        "from edgellm.runtimes.options import LoadOptions;"
        "options = LoadOptions(threads=1, speculate='ngram');"
        f"LlamaCppRuntime().load(Path({str(tiny_gguf)!r}), options).close();"
        "print('numpy' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert shown.stdout.strip() == "False", shown.stderr
