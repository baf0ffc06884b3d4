"""What pairs of cache formats cost, against logits of the runtime compared in float64."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgellm.checkpoint import open_checkpoint
from edgellm.converters.bindings import llama
from edgellm.converters.calibration import caches
from edgellm.converters.calibration.cache_context import CacheContext
from edgellm.converters.calibration.caches import (
    CacheDivergence,
    contenders,
    measure_caches,
    scored_positions,
)
from edgellm.errors import Cancelled, InputError
from edgellm.families import read_spec
from edgellm.formats import Tables
from edgellm.progress import Progress
from edgellm.quant_tables import load_tables
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import ScoringOptions
from edgellm.spec import ModelSpec
from tests.support.conversions import convert_folder, tiny_checkpoint
from tests.support.quality import textbook_quality
from tests.support.specs import make_spec
from tests.support.texts import SHORT_TEXT

CONTEXT = 1100  # ends within a ubatch; its second half has more positions than are compared
ALL = load_tables()
FEW = replace(ALL, kv_pairs=(("f16", "f16"), ("q8_0", "q4_0"), ("q4_0", "q4_0")))


class Tiny:
    """A random model of one layer in f16."""

    def __init__(self, folder: Path, head_dim: int = 64) -> None:
        checkpoint = tiny_checkpoint(
            folder / "checkpoint",
            head_dim=head_dim,
            num_hidden_layers=1,
            max_position_embeddings=2048,
        )
        self.spec: ModelSpec = read_spec(open_checkpoint(checkpoint))
        self.gguf = convert_folder(checkpoint, folder / "f16", "f16").gguf

    def measure(
        self, tables: Tables = FEW, text: str = SHORT_TEXT, context: int = 64, **options: object
    ) -> CacheDivergence:
        arguments: dict[str, object] = {"context": context, "threads": 1, **options}
        return measure_caches(self.gguf, self.spec, tables, text, **arguments)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def found(tiny: Tiny) -> CacheDivergence:
    return tiny.measure(context=CONTEXT)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """One short window, so that a pass costs next to nothing."""
    monkeypatch.setattr(caches, "TEXT_TOKENS", 64)


def textbook_divergence(gguf: Path, key: str, value: str) -> float:
    """The same text and positions through the runtime's scorer, all logits at once."""
    rows = []
    for formats in (("f16", "f16"), (key, value)):
        options = ScoringOptions(CONTEXT, CONTEXT // 2, *formats, threads=1)
        with LlamaCppRuntime().open_scorer(gguf, options) as scorer:
            bos = [] if scorer.bos is None else [scorer.bos]
            window = [*bos, *scorer.tokens(SHORT_TEXT)][:CONTEXT]
            rows.append(np.concatenate([piece.copy() for piece in scorer.logits(window)]))
    scored = [position - CONTEXT // 2 for position in scored_positions(CONTEXT, 512)]
    following = [window[CONTEXT // 2 + 1 :][index] for index in scored]
    mean: float = textbook_quality(rows[0][scored], rows[1][scored], following)["kl_divergence"][
        "mean"
    ]
    return mean


@pytest.mark.parametrize("pair", [("q8_0", "q4_0"), ("q4_0", "f16"), ("f16", "q4_0")])
def test_divergences_are_those_of_the_runtimes_logits(
    tiny: Tiny, found: CacheDivergence, pair: tuple[str, str]
) -> None:
    assert found.nats[pair] == pytest.approx(textbook_divergence(tiny.gguf, *pair), rel=0.01)
    assert (found.tokens, found.positions) == (CONTEXT, 512)


def test_f16_measured_against_itself_costs_exactly_nothing(tiny: Tiny, brief: None) -> None:
    same = replace(FEW.kv_formats["f16"], name="q8_0")
    tables = replace(FEW, kv_formats={**FEW.kv_formats, "q8_0": same})
    nats = tiny.measure(tables).nats
    assert nats["q8_0", "f16"] == nats["f16", "q8_0"] == nats["f16", "f16"] == 0.0
    assert nats["q8_0", "q4_0"] == nats["f16", "q4_0"] > 0.0


@pytest.mark.parametrize("head_dim", [32, 96, 128])
def test_finer_formats_cost_less_whatever_the_head(
    head_dim: int, tmp_path: Path, brief: None
) -> None:
    nats = Tiny(tmp_path, head_dim).measure().nats
    for fine, coarse in ((("q8_0", "f16"), ("q4_0", "f16")), (("f16", "q8_0"), ("f16", "q4_0"))):
        assert 0.0 < nats[fine] < nats[coarse] / 10 < 0.01


def test_a_head_that_no_block_divides_leaves_f16_and_nothing_to_run(tmp_path: Path) -> None:
    spec = make_spec(head_dim=80)
    found = measure_caches(tmp_path / "absent.gguf", spec, ALL, SHORT_TEXT, context=512)
    assert found.nats == {("f16", "f16"): 0.0}


def nats_alone(key: dict[str, float], value: dict[str, float]) -> dict[tuple[str, str], float]:
    return {(k, "f16"): cost for k, cost in key.items()} | {
        ("f16", v): cost for v, cost in value.items()
    }


def test_pairs_are_left_out_only_where_another_of_no_more_bits_looks_clearly_cheaper() -> None:
    names = (("q8_0", "q4_0"), ("q5_1", "q5_1"), ("q5_0", "q5_0"), ("q4_0", "q4_0"))
    pairs = [(ALL.kv_formats[key], ALL.kv_formats[value]) for key, value in names]
    # Pairs look like 4.1, 4.0, 5.0 and 9.0; the second has fewer bits than the first.
    alone = nats_alone(
        {"q8_0": 0.1, "q5_1": 2.0, "q5_0": 2.5, "q4_0": 5.0},
        {"q5_1": 2.0, "q5_0": 2.5, "q4_0": 4.0},
    )
    assert contenders(pairs, alone, clearly=1.1) == pairs
    assert contenders(pairs, alone, clearly=1.0) == pairs[1:]


def cancel_at(item: str) -> Callable[[Progress], None]:
    def sink(progress: Progress) -> None:
        if progress.item == item:
            raise Cancelled("enough")

    return sink


def test_an_interrupted_measurement_goes_on(tiny: Tiny, brief: None, tmp_path: Path) -> None:
    with pytest.raises(Cancelled):
        tiny.measure(cache=tmp_path, progress=cancel_at("f16/q4_0"))
    items: list[str] = []
    resumed = tiny.measure(cache=tmp_path, progress=lambda p: items.append(p.item))
    assert resumed == tiny.measure()
    assert {"f16/f16", "f16/q4_0", "q4_0/q4_0"} <= set(items)
    assert "q8_0/f16" not in items


def test_a_finished_measurement_is_found_again(tiny: Tiny, brief: None, tmp_path: Path) -> None:
    first = tiny.measure(cache=tmp_path)
    phases: set[str] = set()
    assert tiny.measure(cache=tmp_path, progress=lambda p: phases.add(p.phase)) == first
    assert phases == {"hash"}


def test_another_context_is_another_measurement(tiny: Tiny, brief: None, tmp_path: Path) -> None:
    lengths = [tiny.measure(cache=tmp_path, context=tokens).tokens for tokens in (64, 96)]
    assert lengths == [64, 96]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    "damage", [b"", b"[]", b'{"tokens": 64, "positions": 9, "nats": {"a": 1}}']
)
def test_a_damaged_file_is_made_again(
    tiny: Tiny, brief: None, tmp_path: Path, damage: bytes
) -> None:
    first = tiny.measure(cache=tmp_path)
    (file,) = tmp_path.iterdir()
    file.write_bytes(damage)
    assert tiny.measure(cache=tmp_path) == first


def test_a_shorter_text_gives_a_shorter_context_and_says_so(tiny: Tiny) -> None:
    found = tiny.measure(text=SHORT_TEXT[:800], context=2048)
    assert 100 < found.tokens < 400
    assert found.positions == found.tokens - 1 - found.tokens // 2


def test_a_text_of_a_few_words_is_refused(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="expected at least 64"):
        tiny.measure(text="Too short.")


def test_reference_logits_stay_under_their_cap(
    tiny: Tiny, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caches, "REFERENCE_BYTES", 7 * 4 * tiny.spec.vocab_size + 1)
    assert tiny.measure().positions == 7


def spied(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[str]:
    """The names of llama.cpp's functions, in the order in which they are called."""
    called: list[str] = []

    def spy(name: str, function: Callable[..., None]) -> Callable[..., None]:
        def call(handle: object) -> None:
            called.append(name)
            function(handle)

        return call

    for name in names:
        monkeypatch.setattr(llama, name, spy(name, getattr(llama, name)))
    return called


def test_logits_that_are_not_finite_are_refused_and_everything_is_freed(
    tiny: Tiny, brief: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    freed = spied(monkeypatch, "llama_free", "llama_model_free")
    broken = np.full((32, tiny.spec.vocab_size), np.nan, np.float32)
    monkeypatch.setattr(CacheContext, "_rows", lambda self, count: broken[:count])
    with pytest.raises(InputError, match="not finite"):
        tiny.measure()
    assert freed == ["llama_free", "llama_free", "llama_model_free"]


def test_progress_reaches_the_total_of_both_phases(tiny: Tiny, brief: None) -> None:
    steps: dict[str, list[Progress]] = {}
    tiny.measure(progress=lambda p: steps.setdefault(p.phase, []).append(p))
    assert list(steps) == ["caches", "pairs"]
    for found in steps.values():
        done = [step.done for step in found]
        assert done == sorted(set(done))
        assert done[-1] == found[-1].total
