"""What is shown of an engine, without a screen."""

import asyncio
from pathlib import Path

from edgellm.apps.chat.answering.engine import Engine, State
from edgellm.apps.chat.views import named, panel_of, status_of
from edgellm.errors import RuntimeFailure
from edgellm.testing import FakeRuntime
from tests.support.dialogs import fake_engine, loaded_engine


def loaded(path: Path) -> Engine:
    return asyncio.run(loaded_engine(path, FakeRuntime()))


def test_an_engine_that_is_gone_has_neither_a_name_nor_memory(tmp_path: Path) -> None:
    engine = loaded(tmp_path / "heron.gguf")
    status = status_of(engine, None, None, json=False)
    assert (status.model, bool(status.resident_bytes)) == ("heron.gguf", True)
    assert panel_of(engine, None, None, (), None).memory is not None
    engine.failed(RuntimeFailure("fake", "it died"))
    status = status_of(engine, None, None, json=False)
    assert (status.model, status.resident_bytes, status.context) == ("no model", None, None)
    panel = panel_of(engine, None, None, (), None)
    assert (panel.model, panel.memory, panel.context) == ("no model", None, None)


def test_a_model_on_its_way_is_named_already() -> None:
    engine = fake_engine()
    assert named(engine) == "no model"
    engine.reference, engine.state = "heron", State.LOADING
    assert named(engine) == "heron"
