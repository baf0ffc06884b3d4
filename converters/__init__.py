"""Converters turn a checkpoint and a plan into an artifact; one row and one folder per target."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType

from edgellm.artifact import Artifact
from edgellm.errors import UsageError

Convert = Callable[..., Artifact]  # the signature of edgellm.converters.gguf.convert.convert


@dataclass(frozen=True, slots=True)
class Converter:
    """Where the `convert` function of a target is; imported when it is asked for."""

    module: str
    engine: str  # the engine whose plans it carries out

    def load(self) -> Convert:
        convert: Convert = import_module(self.module).convert
        return convert


CONVERTERS: Mapping[str, Converter] = MappingProxyType(
    {"gguf": Converter("edgellm.converters.gguf.convert", engine="llama.cpp")}
)


def converter_for(target: str) -> Convert:
    """The `convert` function of a target such as "gguf". Raises UsageError."""
    if target not in CONVERTERS:
        raise UsageError(f"target {target!r} is unknown; known targets: {', '.join(CONVERTERS)}")
    return CONVERTERS[target].load()
