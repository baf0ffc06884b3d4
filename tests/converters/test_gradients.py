"""Gradients with one layer in memory against transformers and autograd in float64."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgellm.calibration import Calibration
from edgellm.checkpoint import Checkpoint, open_checkpoint
from edgellm.converters.calibration.gradients import job, states
from edgellm.converters.calibration.gradients.backward import backpropagate
from edgellm.converters.calibration.gradients.fisher import FisherObserver, fisher_calibration
from edgellm.converters.calibration.gradients.targets import DrawnTargets, TextTargets
from edgellm.converters.calibration.gradients.threads import torch_threads
from edgellm.converters.calibration.gradients.weights import weight_gradients
from edgellm.errors import Cancelled, RuntimeFailure, UnsupportedError
from edgellm.families import read_spec
from edgellm.progress import Progress
from edgellm.spec import ModelSpec
from tests.support.calibrations import made_up_calibration
from tests.support.checkpoints import random_tensors, write_weights
from tests.support.gradients import SKIPPED, TOKENS, Autograd, random_windows, small_checkpoint

LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 4.0}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
CASES: dict[str, tuple[str, dict[str, object]]] = {
    "llama-3-rope-tied": ("llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}),
    "llama-biases-linear-rope": (
        "llama",
        {"attention_bias": True, "mlp_bias": True, "rope_parameters": LINEAR},
    ),
    "mistral-one-kv-head": ("mistral", {"num_key_value_heads": 1}),
    "qwen2-tied": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 32}),
}
WINDOWS = random_windows(3)
EMBEDDING = "model.embed_tokens.weight"


class Tiny:
    """A random checkpoint and what autograd says of it."""

    def __init__(self, folder: Path, family: str = "llama", **config: object) -> None:
        self.checkpoint: Checkpoint = open_checkpoint(small_checkpoint(folder, family, **config))
        self.spec: ModelSpec = read_spec(self.checkpoint)
        self.autograd = Autograd(folder)
        self.windows = [self.autograd.window(window) for window in WINDOWS]
        self.linears = [t for t in self.spec.tensors if t.is_matrix and t.layer is not None]
        self.head = EMBEDDING if self.spec.tied_embeddings else "lm_head.weight"

    def observed(self, windows: Sequence[Sequence[int]] = WINDOWS) -> FisherObserver:
        seen = FisherObserver()
        backpropagate(
            self.checkpoint,
            self.spec,
            windows,
            TextTargets(windows),
            seen,
            precision=torch.float64,
        )
        return seen

    def fisher(self, windows: Sequence[Sequence[int]] = WINDOWS, **options: object) -> Calibration:
        return fisher_calibration(
            self.checkpoint,
            self.spec,
            made_up_calibration(self.spec),
            windows,
            **options,  # type: ignore[arg-type]
        )


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    with torch_threads(1):  # several are slower on matrices this small
        yield


@pytest.fixture(scope="module", params=CASES)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    family, config = CASES[request.param]
    return Tiny(tmp_path_factory.mktemp("checkpoint"), family, **config)


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp("one")
    return Tiny(folder, tie_word_embeddings=True, num_hidden_layers=1)


def test_squared_gradients_of_linears_are_those_of_autograd(tiny: Tiny) -> None:
    seen = tiny.observed().products
    assert seen.keys() == {tensor.name for tensor in tiny.linears}
    for name, sums in seen.items():
        expected = sum(np.square(window.weights[name]).sum(axis=1) for window in tiny.windows)
        np.testing.assert_allclose(sums.squares, expected, rtol=1e-4, err_msg=name)
        power = sum(window.powers[name] for window in tiny.windows)
        assert sums.power == pytest.approx(power, rel=1e-5), name


def test_what_the_head_and_the_lookup_sum_up_is_what_autograd_says(tiny: Tiny) -> None:
    seen = tiny.observed()
    variance = [(w.probabilities * (1 - w.probabilities)).sum(axis=0) for w in tiny.windows]
    np.testing.assert_allclose(seen.heads[0], sum(variance), rtol=1e-5)
    if not tiny.spec.tied_embeddings:  # autograd adds both uses of a tied one
        rows = np.square(tiny.checkpoint.read_rows(EMBEDDING, 0, 300)).sum(axis=1)
        expected = sum(
            (np.square(w.weights[EMBEDDING]).sum(axis=1) * rows).sum() for w in tiny.windows
        )
        assert seen.lookups == pytest.approx(float(expected), rel=1e-4)


def test_gradients_of_chosen_rows_are_those_of_autograd(tiny: Tiny) -> None:
    matrices = [tensor for tensor in tiny.spec.tensors if tensor.is_matrix]
    rows = {t.name: np.arange(1, t.shape[0], 3) for t in matrices}
    found = weight_gradients(tiny.checkpoint, tiny.spec, WINDOWS, rows, threads=1)
    positions = len(WINDOWS) * (TOKENS - SKIPPED - 1)
    for tensor in matrices:
        whole = sum(w.weights[tensor.name] for w in tiny.windows) / positions
        expected = np.asarray(whole)[rows[tensor.name]]
        error = np.abs(found[tensor.name] - expected).max()
        assert error < 1e-4 * np.abs(expected).max(), tensor.name


def test_pieces_and_a_file_on_disk_change_nothing(
    one: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = one.observed()
    monkeypatch.setattr(states, "MEMORY_CAP_BYTES", 1)
    monkeypatch.setattr(job, "_PIECE_ROWS", 70)
    streamed = one.observed()
    assert len(streamed.heads) == 5
    head = np.concatenate(list(streamed.heads.values()))
    np.testing.assert_allclose(head, whole.heads[0], rtol=1e-12)
    for name, sums in whole.products.items():
        np.testing.assert_allclose(streamed.products[name].squares, sums.squares, rtol=1e-9)
    assert streamed.lookups == pytest.approx(whole.lookups, rel=1e-9)


@pytest.mark.parametrize("linear", ["self_attn.v_proj", "mlp.down_proj"])
def test_a_gain_is_the_divergence_that_a_random_change_of_the_weights_makes(
    one: Tiny, linear: str
) -> None:
    windows, name = random_windows(48, seed=3), f"model.layers.0.{linear}.weight"
    gain = one.fisher(windows).noise_gain[name]
    weight = one.autograd.model.get_parameter(name)
    torch.manual_seed(1)
    costs, powers = [], []
    for window in windows:
        change = 0.02 * weight.detach().std() * torch.randn_like(weight).detach()
        with torch.no_grad():
            clean = one.autograd.logits(window)[SKIPPED:-1].log_softmax(-1)
            weight.add_(change)
            noisy = one.autograd.logits(window)[SKIPPED:-1].log_softmax(-1)
            weight.sub_(change)
        costs.append(float((clean.exp() * (clean - noisy)).sum(-1).mean()))
        inputs = one.autograd.window(window).powers[name] / TOKENS
        powers.append(float(change.square().mean()) * weight.shape[0] * inputs)
    assert gain == pytest.approx(np.mean(costs) / np.mean(powers), rel=0.15)


def test_a_fisher_calibration_has_everything_a_judge_asks_for(tiny: Tiny) -> None:
    found = tiny.fisher()
    assert found.noise_gain.keys() == {t.name for t in tiny.spec.tensors if t.is_matrix}
    assert (found.head_gain is not None) == tiny.spec.tied_embeddings
    assert found.output_weights.keys() == {t.name for t in tiny.linears} | {tiny.head}
    for name, weights in found.output_weights.items():
        assert weights.mean() == pytest.approx(1, rel=1e-4), name
    variance = np.concatenate([w.probabilities * (1 - w.probabilities) for w in tiny.windows])
    head_gain = found.head_gain or found.noise_gain[tiny.head]
    assert head_gain == pytest.approx(variance.mean() / 2, rel=1e-4)


def test_drawn_targets_come_as_often_as_they_are_likely_in_whatever_pieces() -> None:
    likely = torch.tensor([0.1, 0.2, 0.0, 0.3, 0.4], dtype=torch.float64).expand(20_000, 5)
    whole = DrawnTargets().hits(0, 0, torch.zeros(20_000, dtype=torch.float64), likely)
    np.testing.assert_allclose(whole.mean(dim=0), likely[0], atol=0.015)
    left = DrawnTargets().hits(0, 0, torch.zeros(20_000, dtype=torch.float64), likely[:, :2])
    right = DrawnTargets().hits(0, 2, likely[:, :2].sum(dim=1), likely[:, 2:])
    assert torch.equal(torch.cat((left, right), dim=1), whole)
    assert torch.equal(whole.sum(dim=1), torch.ones(20_000, dtype=torch.float64))


def test_a_finished_one_is_found_again_and_a_damaged_file_made_anew(
    one: Tiny, tmp_path: Path
) -> None:
    first, phases = one.fisher(cache=tmp_path, threads=1), list[Progress]()
    again = one.fisher(cache=tmp_path, threads=1, progress=phases.append)
    assert {step.phase for step in phases} == {"hash"}
    assert again.noise_gain == first.noise_gain
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:999])
    assert one.fisher(cache=tmp_path, threads=1).noise_gain == first.noise_gain


def test_other_text_is_another_finding(one: Tiny, tmp_path: Path) -> None:
    for windows in (WINDOWS, WINDOWS[:2]):
        one.fisher(windows, cache=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_progress_reaches_its_total_and_whoever_hears_it_can_stop(
    one: Tiny, tmp_path: Path
) -> None:
    steps: list[Progress] = []
    one.fisher(progress=steps.append)
    done = [step.done for step in steps]
    assert done == sorted(done)
    assert done[-1] == steps[-1].total

    def stop(progress: Progress) -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        one.fisher(cache=tmp_path, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_a_sliding_window_shortens_the_text_and_a_tiny_one_is_refused(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path, "mistral", num_hidden_layers=1, sliding_window=TOKENS)
    long = [[*window, *window] for window in WINDOWS]
    assert tiny.fisher(long).noise_gain == tiny.fisher().noise_gain
    narrow = replace(tiny.spec, sliding_window=40)
    observed = made_up_calibration(narrow)
    with pytest.raises(UnsupportedError, match="40 tokens of context; supported: 64"):
        fisher_calibration(tiny.checkpoint, narrow, observed, long)


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    folder = small_checkpoint(tmp_path, num_hidden_layers=1)
    config = open_checkpoint(folder).config
    tensors = dict(random_tensors("llama", dict(config.values), 0))
    tensors["model.layers.0.mlp.down_proj.weight"][3, 4] = np.nan
    write_weights(tmp_path, tensors, "F32")
    checkpoint = open_checkpoint(tmp_path)
    spec = read_spec(checkpoint)
    with pytest.raises(RuntimeFailure, match="not finite"):
        fisher_calibration(checkpoint, spec, made_up_calibration(spec), WINDOWS)
