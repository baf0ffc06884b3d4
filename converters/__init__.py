"""Converters turn a checkpoint and a plan into an artifact; one row and one folder per target."""

from collections.abc import Callable, Mapping
from importlib import import_module
from types import MappingProxyType

from edgellm.artifact import Artifact
from edgellm.errors import UsageError

Convert = Callable[..., Artifact]  # the signature of edgellm.converters.gguf.convert.convert

# The module of each target, which has a function `convert`; imported when it is asked for.
CONVERTERS: Mapping[str, str] = MappingProxyType({"gguf": "edgellm.converters.gguf.convert"})


def converter_for(target: str) -> Convert:
    """The `convert` function of a target such as "gguf". Raises UsageError."""
    if target not in CONVERTERS:
        raise UsageError(f"target {target!r} is unknown; known targets: {', '.join(CONVERTERS)}")
    convert: Convert = import_module(CONVERTERS[target]).convert
    return convert
