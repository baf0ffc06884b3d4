"""Text that a model writes itself."""

from pathlib import Path

import numpy as np
import pytest

from edgellm.bundled import bundled_checkpoint
from edgellm.converters.calibration import drawn
from edgellm.converters.calibration.drawn import draw_text
from edgellm.converters.calibration.engine import Engine
from tests.support.conversions import convert_folder


def draw(gguf: Path, seed: int = 0, cache: Path | None = None) -> str:
    return draw_text(gguf, sequences=4, seed=seed, cache=cache, threads=1)


@pytest.fixture(scope="module")
def gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("drawn") / "f16"
    return convert_folder(bundled_checkpoint(), out, "f16").gguf


def test_the_same_seed_draws_the_same_text_and_another_another(gguf: Path) -> None:
    text = draw(gguf)
    assert text == draw(gguf)
    assert text != draw(gguf, seed=1)


def test_a_drawn_text_surprises_the_model_no_more_than_its_own_entropy(gguf: Path) -> None:
    with Engine(gguf, 200, 1) as engine:
        tokens = engine.first_token() + engine.tokenize(draw(gguf))[:199]
        logits = engine.run(tokens, None)[:-1].astype(np.float64)
    logs = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    entropy = -(np.exp(logs) * logs).sum(axis=1)
    surprise = -logs[np.arange(len(logs)), tokens[1:]]
    spread = (surprise - entropy).std(ddof=1) / np.sqrt(len(logs))
    assert abs((surprise - entropy).mean()) < 4 * spread


def test_a_kept_text_is_not_drawn_again_and_a_damaged_one_is(
    gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = draw(gguf, cache=tmp_path)
    (kept,) = tmp_path.iterdir()
    with monkeypatch.context() as patched:
        patched.delattr(drawn, "_draw")
        assert draw(gguf, cache=tmp_path) == text
    kept.write_bytes(b"\xff\xfe\xff")
    assert draw(gguf, cache=tmp_path) == text
