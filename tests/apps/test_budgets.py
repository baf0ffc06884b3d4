"""What guessing takes is counted before anything is loaded, and so is what a process may have."""

import subprocess
import sys
from pathlib import Path

import pytest

import edgellm
from edgellm.apps.budgets import check_memory
from edgellm.apps.finding import Loadable
from edgellm.apps.launching import LoadSettings, launch
from edgellm.artifact import Artifact
from edgellm.bundled import bundled_checkpoint
from edgellm.errors import BudgetError, InputError, RuntimeFailure
from edgellm.events import MemoryUse
from edgellm.plan import MemoryParts
from edgellm.planner import uniform_plan
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.options import LoadOptions
from edgellm.store import Store
from tests.support.gguf import TinyLlama

MIB = 1 << 20
ROWS_BYTES = 15 * 4 * 4096  # logits of the bundled model's vocabulary


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    checkpoint, tables = edgellm.open_checkpoint(bundled_checkpoint()), edgellm.load_tables()
    spec = edgellm.read_spec(checkpoint)
    plan = uniform_plan(spec, "q8_0", edgellm.Budget(512), tables)
    folder = tmp_path_factory.mktemp("budgets") / "out"
    return edgellm.convert(checkpoint, spec, plan, folder, tables=tables)


def launched(found: Loadable, home: Path, **settings: object) -> Launch:
    return launch(found, settings, Store(home))  # type: ignore[arg-type]


def test_guessing_comes_on_top_of_a_plan(artifact: Artifact, home: Path) -> None:
    found, planned = Loadable(artifact.gguf, artifact), artifact.plan.memory
    launched(found, home, memory=planned.total_bytes)
    with pytest.raises(BudgetError, match=r"with guessing needs .* load it without") as refusal:
        launched(found, home, memory=planned.total_bytes, speculate="ngram")
    parts = refusal.value.parts
    assert ROWS_BYTES <= parts["compute_bytes"] - planned.compute_bytes <= 2 * ROWS_BYTES
    index_bytes = parts["overhead_bytes"] - planned.overhead_bytes
    assert 100 < index_bytes / artifact.plan.kv.context < 200
    launched(found, home, memory=refusal.value.needed_bytes, speculate="ngram")


def test_a_draft_model_is_counted_with_its_cache(artifact: Artifact, home: Path) -> None:
    found, planned = Loadable(artifact.gguf, artifact), artifact.plan.memory
    with pytest.raises(BudgetError) as refusal:
        launched(found, home, memory=planned.total_bytes, speculate=str(artifact.gguf))
    parts = refusal.value.parts
    assert parts["weights_bytes"] == 2 * planned.weights_bytes
    assert parts["kv_cache_bytes"] == 2 * planned.kv_cache_bytes


def test_a_bare_file_is_refused_with_a_draft_that_does_not_fit(
    artifact: Artifact, home: Path
) -> None:
    weights_bytes = artifact.plan.memory.weights_bytes
    found, memory = Loadable(artifact.gguf, None), weights_bytes + 5 * MIB
    launched(found, home, memory=memory)
    with pytest.raises(BudgetError, match=r"model\.gguf with guessing .* without guessing"):
        launched(found, home, memory=memory, speculate=str(artifact.gguf))


def test_a_bare_file_leaves_room_for_the_index_and_counts_a_draft_model_once() -> None:
    use = MemoryUse(
        weights_bytes=100, kv_cache_bytes=20, compute_bytes=5, resident_bytes=150
    )  # of which 50 are overhead
    index, draft = MemoryParts(0, 0, 3, 7), MemoryParts(9, 9, 9, 9)
    check_memory("model", use, 175, draft)
    check_memory("model", use, 182, index)
    with pytest.raises(BudgetError) as refusal:
        check_memory("model", use, 181, index)
    assert refusal.value.needed_bytes == 182


def test_a_draft_model_that_is_none_is_refused_before_anything_starts(
    artifact: Artifact, home: Path
) -> None:
    with pytest.raises(InputError, match=r"nowhere\.gguf"):
        launched(Loadable(artifact.gguf, artifact), home, speculate="nowhere.gguf")


def test_a_checkpoint_is_converted_so_that_guessing_fits_too(checkpoint: Path) -> None:
    settings: LoadSettings = {"memory": "70MiB", "context": 256, "threads": 1}
    settings["speculate"] = "ngram"
    with edgellm.load(checkpoint, **settings) as model:
        answer = model.generate("Hello", temperature=0, max_tokens=40).result()
    assert answer.usage.generated_tokens > 0


def test_a_memory_that_guessing_alone_exceeds_is_refused(
    checkpoint: Path, artifact: Artifact
) -> None:
    with pytest.raises(BudgetError, match=r"guessing needs .* load the model without it"):
        edgellm.load(checkpoint, memory="1MiB", context=256, speculate=str(artifact.gguf))


def test_the_process_may_have_what_the_plan_and_guessing_take(
    artifact: Artifact, home: Path
) -> None:
    found = Loadable(artifact.gguf, artifact)
    alone = launched(found, home).memory_limit_bytes
    helped = launched(found, home, speculate="ngram").memory_limit_bytes
    assert alone is not None
    assert helped is not None
    assert helped - alone > ROWS_BYTES
    assert launched(found, home, threads=64).memory_limit_bytes == alone + 64 * (16 << 20)


def test_counting_what_guessing_takes_loads_no_engine(artifact: Artifact) -> None:
    probe = (
        "import sys; from pathlib import Path; from edgellm.apps.budgets import guessing_memory;"
        "from edgellm.runtimes.options import LoadOptions;"
        f"guessing_memory(Path({str(artifact.gguf)!r}), LoadOptions(speculate='ngram'));"
        "print({'numpy', 'llama_cpp', 'llama_cpp.llama_cpp'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert shown.stdout.strip() == "set()", shown.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can refuse private memory")
@pytest.mark.parametrize("threads", [1, 5])
def test_an_engine_at_its_planned_budget_never_meets_the_limit(
    artifact: Artifact, threads: int
) -> None:
    memory, context = artifact.plan.memory.total_bytes, artifact.plan.kv.context
    with edgellm.load(artifact.folder, memory=memory, threads=threads) as model:
        words = "the " * (context - 16)
        answer = model.generate(words, max_tokens=4, ignore_end=True, logprobs=3).result()
    assert answer.usage.prompt_tokens > context // 2
    assert answer.usage.generated_tokens == 4


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can refuse private memory")
def test_an_engine_far_beyond_its_limit_fails_in_one_line(tmp_path: Path) -> None:
    path = TinyLlama(layers=8, context=1 << 21).write(tmp_path / "tiny.gguf")
    options = LoadOptions(context=1 << 21, key_format="f32", value_format="f32", threads=1)
    with pytest.raises(RuntimeFailure) as failure:
        Launch(path, options, memory_limit_bytes=64 * MIB).open().close()
    assert "\n" not in str(failure.value)
    assert "cannot make a context" in str(failure.value)
