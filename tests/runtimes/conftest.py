"""A tiny random llama, written and loaded once for the tests that only read it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from edgellm.runtimes.llama_cpp.model import LlamaCppModel
from edgellm.runtimes.llama_cpp.runtime import LlamaCppRuntime
from edgellm.runtimes.options import LoadOptions
from tests.support.gguf import TinyLlama

LoadTiny = Callable[..., LlamaCppModel]


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return TinyLlama().write(tmp_path_factory.mktemp("model") / "tiny.gguf")


@pytest.fixture(scope="session")
def tiny(tiny_gguf: Path) -> Iterator[LlamaCppModel]:
    options = LoadOptions(key_format="f32", value_format="f32", ubatch=64, threads=1)
    with LlamaCppRuntime().load(tiny_gguf, options) as model:
        yield model


@pytest.fixture
def load_tiny(tmp_path: Path) -> Iterator[LoadTiny]:
    """Write a TinyLlama with these changes and load it, for one thread: two wait for each other
    a thousand times longer than this model computes when the machine has other work.
    """
    loaded: list[LlamaCppModel] = []

    def load(
        options: LoadOptions | None = None, kind: type[TinyLlama] = TinyLlama, **changes: object
    ) -> LlamaCppModel:
        path = kind(**changes).write(tmp_path / "changed.gguf")  # type: ignore[arg-type]
        options = replace(options or LoadOptions(), threads=1)
        loaded.append(LlamaCppRuntime().load(path, options))
        return loaded[-1]

    yield load
    for model in loaded:
        model.close()
