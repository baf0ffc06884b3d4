"""What a larger context takes is known before it is loaded, for artifacts and for bare files."""

import subprocess
import sys
from pathlib import Path

import pytest

import edgellm
from edgellm.apps import launching
from edgellm.apps.budgets import process_limit
from edgellm.apps.context_memory import ContextMemory, context_memory
from edgellm.apps.finding import Loadable
from edgellm.apps.launching import launch
from edgellm.artifact import Artifact
from edgellm.bundled import bundled_checkpoint
from edgellm.errors import BudgetError, UsageError
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.options import LoadOptions
from edgellm.store import Store
from tests.support.checkpoints import write_checkpoint
from tests.support.gguf import TinyLlama

PLANNED, LIMIT = 300, 2048  # tokens of the bundled model
KIB = 1 << 10


def converted(checkpoint: Path, out: Path, context: int, memory_bytes: int = 1 << 30) -> Artifact:
    opened, tables = edgellm.open_checkpoint(checkpoint), edgellm.load_tables()
    spec = edgellm.read_spec(opened)
    plan = edgellm.make_plan(spec, edgellm.Budget(context, memory_bytes), tables)
    return edgellm.convert(opened, spec, plan, out, tables=tables)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    return converted(bundled_checkpoint(), tmp_path_factory.mktemp("bundled") / "out", PLANNED)


@pytest.fixture(scope="module")
def costs(artifact: Artifact) -> ContextMemory:
    return ContextMemory.of(artifact)


def launched(artifact: Artifact, home: Path, **settings: object) -> Launch:
    found = Loadable(artifact.gguf, artifact)
    return launch(found, {"beyond_plan": True, **settings}, Store(home))  # type: ignore[typeddict-item]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3"])
def test_at_the_planned_context_it_is_what_the_plan_says(
    family: str, tied: bool, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(
        tmp_path / family, family, tokenizer=True, tie_word_embeddings=tied
    )
    made = converted(checkpoint, tmp_path / "out", 100, 47 << 20)
    assert context_memory(made, 100) == made.plan.memory


def test_a_plan_for_little_scratch_keeps_it_at_any_context(tmp_path: Path) -> None:
    tight = converted(bundled_checkpoint(), tmp_path / "tight", PLANNED, 48 << 20)
    assert tight.plan.ubatch < 512
    assert context_memory(tight, PLANNED) == tight.plan.memory
    assert ContextMemory.of(tight).ubatch == tight.plan.ubatch


def test_the_cache_grows_with_the_context_and_the_weights_do_not(costs: ContextMemory) -> None:
    less, more = costs.at(512), costs.at(2048)
    assert more.kv_cache_bytes == 4 * less.kv_cache_bytes
    assert more.weights_bytes == less.weights_bytes
    prompt_bytes = more.overhead_bytes - less.overhead_bytes
    assert prompt_bytes == 1536 * costs.engine.prompt_token_bytes


def test_a_bare_file_takes_what_its_options_say(artifact: Artifact) -> None:
    kv = artifact.plan.kv
    options = LoadOptions(key_format=kv.key_format, value_format=kv.value_format)
    assert context_memory(artifact.gguf, PLANNED, options) == artifact.plan.memory
    double = LoadOptions(key_format="f16", value_format="f16")
    plain = context_memory(artifact.gguf, PLANNED).kv_cache_bytes
    assert context_memory(artifact.gguf, PLANNED, double).kv_cache_bytes == plain * 32 // 17
    assert ContextMemory.of(artifact.gguf).name == "model.gguf"


@pytest.mark.parametrize("context", [0, LIMIT + 1])
def test_a_context_that_the_model_has_not_is_refused_with_its_largest(
    context: int, costs: ContextMemory
) -> None:
    assert costs.limit == LIMIT
    with pytest.raises(UsageError, match=f"context is {context}; out was made for 2048 tokens"):
        costs.at(context)


@pytest.mark.parametrize("context", [256, 1024, 1792, LIMIT])
def test_the_largest_context_fits_exactly(context: int, costs: ContextMemory) -> None:
    needed_bytes = costs.at(context).total_bytes
    assert costs.largest(needed_bytes) == context
    assert costs.largest(needed_bytes - 1) == context - 256
    assert costs.largest(1 << 40) == LIMIT


def test_a_limit_between_two_paddings_is_reached(tmp_path: Path) -> None:
    odd = ContextMemory.of(TinyLlama(context=700).write(tmp_path / "odd.gguf"))
    assert odd.largest(odd.at(700).total_bytes) == 700
    assert odd.largest(odd.at(700).total_bytes - 1) == 512


@pytest.mark.skipif(sys.platform != "linux", reason="plans are measured on Linux")
@pytest.mark.parametrize("is_bare", [False, True])
def test_a_full_larger_context_takes_what_was_predicted(artifact: Artifact, is_bare: bool) -> None:
    model = artifact.gguf if is_bare else artifact.folder
    predicted = context_memory(artifact.gguf if is_bare else artifact, LIMIT)
    with edgellm.load(model, context=LIMIT, beyond_plan=True, threads=1) as loaded:
        done = loaded.generate("the " * (LIMIT - 48), max_tokens=8, ignore_end=True).result()
        used = loaded.memory()
        assert loaded.info.context == LIMIT
        assert loaded.plan == (None if is_bare else artifact.plan)
    assert done.usage.prompt_tokens > 0.9 * LIMIT
    assert used.kv_cache_bytes == pytest.approx(predicted.kv_cache_bytes, abs=6 * KIB)
    assert used.compute_bytes <= predicted.compute_bytes
    assert 0.8 < used.resident_bytes / predicted.total_bytes <= 1


def test_more_than_the_plan_has_to_be_meant(artifact: Artifact, home: Path) -> None:
    with pytest.raises(UsageError, match="was planned for 300 tokens"):
        launched(artifact, home, context=LIMIT, beyond_plan=False)
    options = launched(artifact, home, context=LIMIT, memory="1GiB").options
    kv = artifact.plan.kv
    assert (options.context, options.ubatch) == (LIMIT, artifact.plan.ubatch)
    assert (options.key_format, options.value_format) == (kv.key_format, kv.value_format)


def test_a_context_that_does_not_fit_is_refused_with_what_would(
    artifact: Artifact, costs: ContextMemory, home: Path
) -> None:
    needed_bytes = costs.at(LIMIT).total_bytes
    with pytest.raises(BudgetError, match=r"2048 tokens needs .* largest that fits is 1792") as no:
        launched(artifact, home, context=LIMIT, memory=needed_bytes - 1)
    assert (no.value.needed_bytes, no.value.budget_bytes) == (needed_bytes, needed_bytes - 1)
    assert no.value.largest_context == 1792
    assert no.value.parts == costs.at(LIMIT).to_json()
    start = launched(artifact, home, context=LIMIT, memory=needed_bytes)
    assert start.memory_limit_bytes == process_limit(needed_bytes, None)


def test_without_a_memory_what_is_free_decides(
    artifact: Artifact, costs: ContextMemory, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free_bytes = costs.at(512).total_bytes
    monkeypatch.setattr(launching, "free_memory_budget", lambda say: free_bytes)
    launched(artifact, home, context=512)
    with pytest.raises(BudgetError, match="largest that fits is 512"):
        launched(artifact, home, context=513)


def test_what_guessing_takes_counts_at_the_larger_context(
    artifact: Artifact, costs: ContextMemory, home: Path
) -> None:
    alone_bytes = costs.at(LIMIT).total_bytes
    with pytest.raises(BudgetError) as no:
        launched(artifact, home, context=LIMIT, memory=alone_bytes, speculate="ngram")
    index_bytes = no.value.parts["overhead_bytes"] - costs.at(LIMIT).overhead_bytes
    assert 100 < index_bytes / LIMIT < 200
    assert no.value.largest_context < LIMIT
    more = {"memory": no.value.needed_bytes, "speculate": "ngram"}
    launched(artifact, home, context=LIMIT, **more)


def test_no_memory_helps_where_the_model_has_no_such_context(
    artifact: Artifact, home: Path
) -> None:
    with pytest.raises(UsageError, match="made for 2048 tokens"):
        launched(artifact, home, context=LIMIT + 1, memory="1TiB")


def test_a_context_within_the_plan_is_loaded_as_ever(artifact: Artifact, home: Path) -> None:
    meant, plain = (
        launched(artifact, home, context=200, beyond_plan=beyond) for beyond in (True, False)
    )
    assert meant.options == plain.options
    assert meant.memory_limit_bytes == plain.memory_limit_bytes


def test_predicting_loads_no_engine(artifact: Artifact) -> None:
    probe = (
        "import sys; from pathlib import Path\n"
        "from edgellm.apps.context_memory import context_memory\n"
        f"context_memory(Path({str(artifact.gguf)!r}), 512)\n"
        "print({'numpy', 'llama_cpp', 'llama_cpp.llama_cpp'} & set(sys.modules))"
    )
    shown = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True)
    assert shown.stdout.strip() == "set()", shown.stderr
