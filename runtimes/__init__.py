"""The engines that run models, by name; an engine is imported when it is asked for.

protocol, options, messages   what an engine offers and is asked; fake.py is the smallest one
llama_cpp/                    an engine: GGUF files
choosing/                     which engine and device for a model here, and why no other
api/                          Model, Chat and Stream: what an embedder holds
connection, wire              between the two: calls as bytes, and what the bytes mean
worker/, local                a connection's other end: a process of its own, or a thread
host/                         what works there: conversations to prompts, text to events
grammars/                     JSON Schema and GBNF, written and checked
"""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgellm.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from pathlib import Path
    from typing import TextIO

    from edgellm.runtimes.protocol import Runtime


@dataclass(frozen=True, slots=True)
class Entry:
    """Where an engine's class is and what installs it."""

    module: str
    class_name: str
    package: str  # what pip installs for it

    def unavailable(self) -> str | None:
        """Why the engine cannot be used here; None when it can."""
        try:
            import_module(self.module)
        except (ImportError, OSError, RuntimeError) as error:
            # llama_cpp raises RuntimeError for a library that does not load.
            return (
                f"{' '.join(str(error).split())}; try: pip install --force-reinstall {self.package}"
            )
        return None


RUNTIMES: Mapping[str, Entry] = MappingProxyType(
    {
        "llama.cpp": Entry(
            "edgellm.runtimes.llama_cpp.runtime", "LlamaCppRuntime", "llama-cpp-python"
        )
    }
)


def open_runtime(
    name: str, cache_dir: "Path | None" = None, log: "TextIO | None" = None
) -> "Runtime":
    """The engine of that name.

    cache_dir: where findings about this machine are kept; None keeps none. log: gets the engine's
    log, which nobody sees otherwise. Raises UsageError for an unknown name, UnsupportedError when
    the engine is not installed.
    """
    if name not in RUNTIMES:
        raise UsageError(f"no engine {name!r}; known: {', '.join(RUNTIMES)}")
    entry = RUNTIMES[name]
    if reason := entry.unavailable():
        raise UnsupportedError(f"engine {name} is not available: {reason}")
    runtime: Runtime = getattr(import_module(entry.module), entry.class_name)(cache_dir, log)
    return runtime
