"""Calibration through llama.cpp against the same sums and noise in torch."""

import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from numpy.typing import NDArray

from edgellm.calibration import Calibration
from edgellm.checkpoint import open_checkpoint
from edgellm.converters.calibration.calibrate import (
    WINDOW_TOKENS,
    calibrate,
    observe,
    text_windows,
)
from edgellm.converters.calibration.engine import Engine
from edgellm.converters.calibration.graph import Node
from edgellm.converters.calibration.noise import SKIPPED, OutputNoise, Reference, logit_gains
from edgellm.converters.calibration.rows import RowLengths
from edgellm.converters.calibration.sites import find_sites
from edgellm.errors import Cancelled, InputError, RuntimeFailure, UnsupportedError, UsageError
from edgellm.families import read_spec
from edgellm.progress import Progress
from edgellm.spec import ModelSpec
from tests.support.conversions import convert_folder, tiny_checkpoint
from tests.support.texts import SHORT_TEXT

TOKENS = 5 * WINDOW_TOKENS
FAMILIES = {"llama": True, "qwen2": False}  # with a tied head or its own


class Tiny:
    """A random checkpoint, its f32 file, and the same model in torch."""

    def __init__(self, folder: Path, family: str, tied: bool) -> None:
        self.folder = tiny_checkpoint(
            folder / "checkpoint", family, tie_word_embeddings=tied, num_hidden_layers=1
        )
        self.spec: ModelSpec = read_spec(open_checkpoint(self.folder))
        self.gguf = convert_folder(self.folder, folder / "f32", "f32").gguf
        load = transformers.AutoModelForCausalLM.from_pretrained
        self.torch = load(self.folder, dtype=torch.float32, attn_implementation="eager")

    def calibrate(self, **options: object) -> Calibration:
        arguments: dict[str, object] = {"tokens": TOKENS, "threads": 1, **options}
        return calibrate(self.gguf, self.spec, SHORT_TEXT, **arguments)  # type: ignore[arg-type]

    def windows(self) -> Sequence[Sequence[int]]:
        with Engine(self.gguf, WINDOW_TOKENS, 1) as engine:
            return text_windows(engine, SHORT_TEXT, TOKENS)

    def logits(self, window: Sequence[int]) -> torch.Tensor:
        with torch.no_grad():
            logits: torch.Tensor = self.torch(torch.tensor([list(window)])).logits[0].double()
        return logits


@pytest.fixture(scope="module", params=FAMILIES)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    folder = tmp_path_factory.mktemp(request.param)
    return Tiny(folder, request.param, FAMILIES[request.param])


@pytest.fixture(scope="module")
def found(tiny: Tiny) -> Calibration:
    return tiny.calibrate()


@pytest.fixture(scope="module")
def tied(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("tied"), "llama", tied=True)


@pytest.fixture(scope="module")
def once(tied: Tiny) -> Calibration:
    return tied.calibrate()


def torch_moments(tiny: Tiny) -> dict[str, NDArray[np.float64]]:
    """E[x_j^2] of every linear's inputs, by forward hooks."""
    sums: dict[str, NDArray[np.float64]] = {}

    def hook(name: str) -> Callable[..., None]:
        def add(module: object, inputs: tuple[torch.Tensor, ...]) -> None:
            sums[name] = sums.get(name, 0.0) + inputs[0][0].double().square().sum(0).numpy()

        return add

    linears = [(n, m) for n, m in tiny.torch.named_modules() if isinstance(m, torch.nn.Linear)]
    handles = [m.register_forward_pre_hook(hook(f"{n}.weight")) for n, m in linears]
    windows = tiny.windows()
    for window in windows:
        tiny.logits(window)
    for handle in handles:
        handle.remove()
    return {name: values / (len(windows) * WINDOW_TOKENS) for name, values in sums.items()}


def torch_gain(tiny: Tiny, window: Sequence[int], name: str, trials: int) -> float:
    """Divergence over noise power by Monte Carlo, noise as a rounded weight makes it.

    The power of a lookup's noise is that of the table's mean row, whichever rows the window has.
    """
    module = tiny.torch.get_submodule(name.removesuffix(".weight"))
    shape = tiny.torch.get_parameter(name).shape
    lengths = tiny.torch.get_parameter(name).detach().norm(dim=1)
    powers: list[float] = []

    def disturb(module: object, inputs: tuple[torch.Tensor], outputs: torch.Tensor) -> torch.Tensor:
        matrix = 0.02 * torch.randn(shape) * lengths[:, None]
        matrix /= matrix.shape[1] ** 0.5
        if isinstance(module, torch.nn.Embedding):
            noise = matrix[inputs[0]]
            powers.append(float(matrix.square().sum(-1).mean()))
        else:
            noise = inputs[0] @ matrix.T
            powers.append(float(noise.square().sum(-1).mean()))
        return outputs + noise

    clean = torch.log_softmax(tiny.logits(window)[SKIPPED:], -1)
    handle = module.register_forward_hook(disturb)
    torch.manual_seed(5)
    noisy = [torch.log_softmax(tiny.logits(window)[SKIPPED:], -1) for _ in range(trials)]
    handle.remove()
    costs = [float((clean.exp() * (clean - other)).sum(-1).mean()) for other in noisy]
    return float(np.mean(np.array(costs) / np.array(powers)))


def test_input_moments_are_those_of_torch(tiny: Tiny, found: Calibration) -> None:
    expected = torch_moments(tiny)
    if tiny.spec.tied_embeddings:
        expected["model.embed_tokens.weight"] = expected.pop("lm_head.weight")
    assert found.tokens == TOKENS
    assert found.input_moments.keys() == expected.keys()
    for name, moments in expected.items():
        np.testing.assert_allclose(found.input_moments[name], moments, rtol=0.01)


@pytest.mark.parametrize(
    "tensor", ["embed_tokens", "layers.0.self_attn.v_proj", "layers.0.mlp.down_proj"]
)
def test_gains_are_those_of_a_monte_carlo_in_torch(tiny: Tiny, tensor: str) -> None:
    name, window = f"model.{tensor}.weight", tiny.windows()[2]
    (site, *_) = [site for site in find_sites(tiny.gguf, tiny.spec) if site.name == name]
    with Engine(tiny.gguf, WINDOW_TOKENS, 1) as engine:
        reference = Reference.of(engine.run(window, None))
        gains = []
        lengths = RowLengths(tiny.gguf).of(site.weight)
        for trial in range(24):
            noise = OutputNoise(site, trial, lengths)
            gains.append(reference.divergence(engine.run(window, noise)) / noise.power)
    assert np.mean(gains) == pytest.approx(torch_gain(tiny, window, name, trials=24), rel=0.15)


def test_gains_of_the_logits_are_those_of_noise_on_them(tiny: Tiny) -> None:
    logits = tiny.logits(tiny.windows()[0])
    clean = torch.log_softmax(logits, -1)[SKIPPED:]
    torch.manual_seed(3)
    deviations = 0.05 * torch.rand(logits.shape[1], dtype=torch.float64).square()
    noisy = [
        torch.log_softmax(logits + deviations * torch.randn_like(logits), -1)[SKIPPED:]
        for _ in range(4)
    ]
    measured = np.mean([float((clean.exp() * (clean - o)).sum(-1).mean()) for o in noisy])
    gains = logit_gains(logits.numpy().astype(np.float32))
    assert gains @ deviations.square().numpy() == pytest.approx(measured, rel=0.03)


def test_the_head_is_weighed_by_what_the_text_may_go_on_with(
    tiny: Tiny, found: Calibration
) -> None:
    p = torch.stack([tiny.logits(w)[SKIPPED:].softmax(-1) for w in tiny.windows()])
    expected = (p * (1 - p)).mean(dim=(0, 1)).numpy() / 2
    (name, weights), *others = found.output_weights.items()
    gain = found.head_gain if tiny.spec.tied_embeddings else found.noise_gain[name]
    assert not others
    assert gain == pytest.approx(expected.mean(), rel=1e-4)
    np.testing.assert_allclose(weights, expected / expected.mean(), rtol=5e-3)


@pytest.mark.parametrize("stored", ["f32", "f16", "q8_0"])
def test_rows_are_as_long_as_the_checkpoint_has_them(
    tied: Tiny, tmp_path: Path, stored: str
) -> None:
    gguf = convert_folder(tied.folder, tmp_path / "file", stored).gguf
    name = "model.embed_tokens.weight"
    expected = tied.torch.get_parameter(name).detach().double().norm(dim=1).numpy()
    lengths = RowLengths(gguf).of("token_embd.weight")
    np.testing.assert_allclose(lengths, expected, rtol=0.01 if stored == "q8_0" else 1e-3)


def test_every_matrix_has_a_gain_and_a_tied_head_its_own(tiny: Tiny, found: Calibration) -> None:
    matrices = {tensor.name for tensor in tiny.spec.tensors if tensor.is_matrix}
    assert found.noise_gain.keys() == matrices
    assert all(gain > 0 for gain in found.noise_gain.values())
    assert (found.head_gain is not None) == tiny.spec.tied_embeddings


def test_equal_calibrations_are_equal(tied: Tiny, once: Calibration) -> None:
    assert_equal(tied.calibrate(), once)


def cancel_in(phase: str, at: int) -> Callable[[Progress], None]:
    seen: list[Progress] = []

    def sink(progress: Progress) -> None:
        seen.append(progress)
        if [p.phase for p in seen].count(phase) == at:
            raise Cancelled("enough")

    return sink


def assert_equal(one: Calibration, other: Calibration) -> None:
    scalars = [replace(c, input_moments={}, output_weights={}) for c in (one, other)]
    assert scalars[0] == scalars[1]
    for mine, theirs in (
        (one.input_moments, other.input_moments),
        (one.output_weights, other.output_weights),
    ):
        assert mine.keys() == theirs.keys()
        for name, values in mine.items():
            np.testing.assert_array_equal(theirs[name], values)


def test_an_interrupted_calibration_goes_on(tied: Tiny, once: Calibration, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        tied.calibrate(cache=tmp_path, progress=cancel_in("disturb", 20))
    phases: list[str] = []
    assert_equal(tied.calibrate(cache=tmp_path, progress=lambda p: phases.append(p.phase)), once)
    assert "observe" not in phases
    assert phases.count("disturb") < 5 * len(find_sites(tied.gguf, tied.spec)) - 16


def test_observing_alone_disturbs_nothing_and_a_calibration_goes_on_from_it(
    tied: Tiny, once: Calibration, tmp_path: Path
) -> None:
    phases: list[str] = []
    seen = observe(
        tied.gguf,
        tied.spec,
        SHORT_TEXT,
        tokens=TOKENS,
        cache=tmp_path,
        threads=1,
        progress=lambda p: phases.append(p.phase),
    )
    assert_equal(seen, replace(once, noise_gain={}, head_gain=None, output_weights={}))
    assert "disturb" not in phases
    phases.clear()
    assert_equal(tied.calibrate(cache=tmp_path, progress=lambda p: phases.append(p.phase)), once)
    assert "observe" not in phases


def test_a_finished_calibration_is_found_again(tied: Tiny, tmp_path: Path) -> None:
    first = tied.calibrate(cache=tmp_path)
    phases: set[str] = set()
    assert_equal(tied.calibrate(cache=tmp_path, progress=lambda p: phases.add(p.phase)), first)
    assert phases == {"hash"}


def test_a_damaged_file_is_made_again(tied: Tiny, once: Calibration, tmp_path: Path) -> None:
    tied.calibrate(cache=tmp_path)
    (file,) = tmp_path.iterdir()
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    for damaged in (bytes(content), bytes(content[:999]), b""):
        file.write_bytes(damaged)
        assert_equal(tied.calibrate(cache=tmp_path), once)


def test_other_text_or_length_is_another_calibration(tied: Tiny, tmp_path: Path) -> None:
    tied.calibrate(cache=tmp_path)
    tied.calibrate(cache=tmp_path, tokens=4 * WINDOW_TOKENS)
    assert len(list(tmp_path.iterdir())) == 2


def test_progress_reaches_its_total(tied: Tiny) -> None:
    steps: dict[str, list[Progress]] = {}
    tied.calibrate(progress=lambda p: steps.setdefault(p.phase, []).append(p))
    for phase in ("observe", "disturb"):
        done = [step.done for step in steps[phase]]
        assert done == sorted(done)
        assert done[-1] == steps[phase][-1].total


def test_what_a_watcher_raises_arrives_after_the_run(tied: Tiny) -> None:
    class Broken:
        def wants(self, node: Node) -> bool:
            raise Cancelled("now")

        def see(self, node: Node) -> None:
            raise AssertionError

    window = tied.windows()[0]
    with Engine(tied.gguf, WINDOW_TOKENS, 1) as engine:
        clean = engine.run(window, None).copy()
        with pytest.raises(Cancelled, match="now"):
            engine.run(window, Broken())
        np.testing.assert_array_equal(engine.run(window, None), clean)


def test_ctrl_c_while_an_operation_is_watched_ends_the_run_at_once(tied: Tiny) -> None:
    class Interrupting:
        asked = seen = 0

        def wants(self, node: Node) -> bool:
            self.asked += 1
            signal.raise_signal(signal.SIGINT)
            return False

        def see(self, node: Node) -> None:
            self.seen += 1

    with Engine(tied.gguf, WINDOW_TOKENS, 1) as engine:
        watcher = Interrupting()
        with pytest.raises(KeyboardInterrupt):
            engine.run([1, 2, 3], watcher)
        assert (watcher.asked, watcher.seen) == (1, 0)
        assert np.isfinite(engine.run([1, 2, 3], None)).all()


def test_short_texts_and_few_tokens_are_refused(tied: Tiny) -> None:
    with pytest.raises(InputError, match="calibration text has"):
        calibrate(tied.gguf, tied.spec, "Too short.", threads=1)
    with pytest.raises(UsageError, match="at least 1024"):
        calibrate(tied.gguf, tied.spec, SHORT_TEXT, tokens=100)


def test_files_of_another_model_or_already_coarse_are_refused(tied: Tiny, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not made from"):
        find_sites(
            tied.gguf,
            replace(
                tied.spec,
                tensors=(*tied.spec.tensors[:-1], replace(tied.spec.tensors[-1], shape=(7,))),
            ),
        )
    coarse = convert_folder(tied.folder, tmp_path / "q4", "q4_0").gguf
    with pytest.raises(UnsupportedError, match="too coarse"):
        find_sites(coarse, tied.spec)


def test_an_unknown_layout_of_tensors_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from edgellm.converters.calibration import graph

    monkeypatch.setattr(graph, "_OBJECT_BYTES", 40)
    graph.graph_library.cache_clear()
    with pytest.raises(RuntimeFailure, match="unknown way"):
        graph.graph_library()
