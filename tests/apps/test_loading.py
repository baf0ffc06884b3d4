"""edgellm.load: from a name to a model, within a budget."""

import asyncio
import os
import subprocess
import sys
import threading
from pathlib import Path
from time import sleep

import psutil
import pytest

import edgellm
from edgellm.apps.finding import Loadable
from edgellm.apps.launching import LoadSettings, launch
from edgellm.artifact import Artifact
from edgellm.errors import BudgetError, Cancelled, InputError, RuntimeFailure, UsageError
from edgellm.events import Event
from edgellm.progress import Progress
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.choosing.selection import Candidate
from edgellm.store import Store
from edgellm.testing import FakeRuntime
from tests.support.checkpoints import write_checkpoint


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    folder = tmp_path_factory.mktemp("loading")
    checkpoint = edgellm.open_checkpoint(write_checkpoint(folder / "tiny", tokenizer=True))
    spec, tables = edgellm.read_spec(checkpoint), edgellm.load_tables()
    plan = edgellm.make_plan(spec, edgellm.Budget(256, memory_bytes=1 << 30), tables)
    return edgellm.convert(checkpoint, spec, plan, folder / "out", tables=tables)


def test_an_artifact_is_loaded_as_its_plan_says(artifact: Artifact) -> None:
    with edgellm.load(artifact.folder, threads=1) as model:
        assert model.info.context == artifact.plan.kv.context == 256
        assert (model.plan, model.path) == (artifact.plan, artifact.gguf)
        assert model.generate("Hello", max_tokens=2).result().usage.generated_tokens == 2
        assert model.memory().weights_bytes > 0


def test_a_bare_file_has_no_plan(artifact: Artifact) -> None:
    with edgellm.load(artifact.gguf, context=64, threads=1) as model:
        assert (model.plan, model.path) == (None, artifact.gguf)


def test_a_budget_below_the_plan_is_refused_before_anything_is_loaded(artifact: Artifact) -> None:
    events: list[Event] = []
    with pytest.raises(BudgetError, match="convert it again for 10MiB of memory") as refusal:
        edgellm.load(artifact.folder, memory=10 << 20, on_event=events.append)
    assert refusal.value.needed_bytes == artifact.plan.memory.total_bytes
    assert refusal.value.parts["weights_bytes"] == artifact.plan.memory.weights_bytes
    assert events == []


def test_a_worker_gets_the_budget_and_a_reserve(artifact: Artifact, tmp_path: Path) -> None:
    def limit(settings: LoadSettings) -> int | None:
        found, store = Loadable(artifact.gguf, artifact), Store(tmp_path)
        return launch(found, settings, store).memory_limit_bytes

    threads_bytes = (os.cpu_count() or 1) * (64 << 20)
    assert limit({"memory": "8GiB"}) == (9 << 30) + threads_bytes
    assert limit({}) == artifact.plan.budget_bytes + (128 << 20) + threads_bytes
    assert limit({"gpu_layers": -1}) is None  # a driver reserves what no budget speaks of


def test_a_checkpoint_is_converted_on_first_use(checkpoint: Path, home: Path) -> None:
    heard: list[list[Progress]] = [[], []]
    for steps in heard:
        with edgellm.load(checkpoint, memory="1GiB", context=256, progress=steps.append) as model:
            assert model.info.context == 256
    assert len(Store(home).names()) == 1
    first, second = ({step.phase: step for step in steps} for steps in heard)
    assert list(first) == ["quantize", "verify"]
    assert list(second) == ["verify"]
    assert all(last.done == last.total > 0 for last in (*first.values(), *second.values()))


def test_a_checkpoint_that_does_not_fit_is_refused_with_what_would(checkpoint: Path) -> None:
    with pytest.raises(BudgetError) as refusal:
        edgellm.load(checkpoint, memory="38MiB", context=256)
    assert refusal.value.needed_bytes > refusal.value.budget_bytes == 38 << 20
    assert refusal.value.parts["total_bytes"] == refusal.value.needed_bytes


def test_a_cancel_during_verification_is_heard(artifact: Artifact) -> None:
    cancel = CancelToken()
    with pytest.raises(Cancelled):
        edgellm.load(artifact.folder, progress=lambda step: cancel.cancel(), cancel=cancel)


def test_a_cancel_ends_a_conversion(checkpoint: Path) -> None:
    cancel = CancelToken()

    def cancel_once_it_runs() -> None:
        while not psutil.Process().children():
            sleep(0.01)
        cancel.cancel()

    threading.Thread(target=cancel_once_it_runs).start()
    with pytest.raises(Cancelled, match="goes on from there"):
        edgellm.load(checkpoint, memory="1GiB", context=256, cancel=cancel)


def test_a_cancel_while_a_model_is_measured_ends_that_and_keeps_what_was_found(
    checkpoint: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("EDGELLM_SENSITIVITY")  # what it takes by itself, for so small a model
    phases: list[dict[str, None]] = [{}, {}]
    for heard in phases:
        cancel = CancelToken()

        def progress(step: Progress, heard: dict[str, None] = heard) -> None:
            heard.setdefault(step.phase)
            if step.phase == "observe":
                cancel.cancel()  # noqa: B023

        with pytest.raises(Cancelled, match="goes on from there"):
            edgellm.load(
                checkpoint, memory="1GiB", context=64, threads=1, progress=progress, cancel=cancel
            )
    assert list(phases[0]) == ["quantize", "hash", "draw", "observe"]
    assert list(phases[1]) == ["hash", "observe"]
    assert psutil.Process().children() == []


def test_what_is_loaded_asynchronously_answers_alike(artifact: Artifact) -> None:
    async def script() -> str:
        async with await edgellm.load_async(artifact.folder, threads=1) as model:
            return (await model.generate("Hi", temperature=0, max_tokens=4).result()).text

    with edgellm.load(artifact.folder, threads=1) as model:
        expected = model.generate("Hi", temperature=0, max_tokens=4).result().text
    assert asyncio.run(script()) == expected


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"context": 9999}, "was planned for 256 tokens"),
        ({"key_format": "f16"}, "leave key_format and value_format out"),
        ({"isolation": "thread"}, "isolation is 'thread'; expected process or none"),
        ({"runtime": "tflite"}, "no engine 'tflite'"),
        ({"weights": "shared"}, "weights is 'shared'"),
        ({"memroy": "1GiB"}, "no setting 'memroy'"),
        ({"memory": "1"}, "size '1'"),
        ({"memory": 0}, "memory is 0 bytes"),
        ({"runtime": FakeRuntime()}, "isolation='none'"),
    ],
)
def test_a_setting_that_means_nothing_is_refused(
    artifact: Artifact, settings: dict[str, object], problem: str
) -> None:
    with pytest.raises(UsageError, match=problem):
        edgellm.load(artifact.folder, **settings)  # type: ignore[arg-type]


def test_a_name_that_stands_for_nothing_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nothing-here"):
        edgellm.load(tmp_path / "nothing-here", offline=True)


def test_an_engine_of_one_s_own_loads_what_it_likes() -> None:
    with edgellm.load("no file", runtime=FakeRuntime(answer=["Hi."]), isolation="none") as model:
        assert model.chat().send("Hello").result().text == "Hi."
    broken = FakeRuntime(load_error=RuntimeFailure("fake", "broken"))
    with pytest.raises(RuntimeFailure, match="broken"):
        edgellm.load("no file", runtime=broken, isolation="none")


def test_the_way_to_load_imports_nothing_that_would_keep_a_user_waiting() -> None:
    heavy = ("asyncio", "numpy", "scipy", "llama_cpp", "jinja2", "typer", "huggingface_hub")
    probe = f"import sys, edgellm; edgellm.load; print(set({heavy!r}) & set(sys.modules))"
    command = [sys.executable, "-c", probe]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    assert shown.stdout.strip() == "set()"


def test_a_device_is_chosen_where_llama_cpp_was_built_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = Candidate("llama.cpp CUDA", "llama.cpp", True, "all layers", "a GPU", -1)
    monkeypatch.setattr("edgellm.runtimes.choosing.choice.choose_runtime", lambda *asked: found)
    model, layers = Loadable(tmp_path / "model.gguf", None), []
    for gpus in (frozenset(), frozenset({"CUDA"})):
        monkeypatch.setattr("edgellm.apps.launching.llama_cpp_gpus", lambda gpus=gpus: gpus)
        layers.append(launch(model, {}, Store(tmp_path)).options.gpu_layers)
    assert layers == [0, -1]
