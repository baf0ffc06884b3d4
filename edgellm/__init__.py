"""edgellm turns a Hugging Face checkpoint into the best model that fits your memory, and runs it.

    checkpoint = edgellm.open_checkpoint(Path("Llama-3.2-1B"))
    spec = edgellm.read_spec(checkpoint)
    tables = edgellm.load_tables()
    plan = edgellm.make_plan(spec, edgellm.Budget(4096, memory_bytes=2**30), tables)
    artifact = edgellm.convert(checkpoint, spec, plan, Path("llama-1b"), tables=tables)
    with edgellm.load(artifact.folder) as model:
        print(model.chat().send("Hello").result().text)

Each name is imported when it is first used, so that `import edgellm` costs nothing.
"""

import sys
from importlib import import_module
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgellm.apps.loading import load, load_async
    from edgellm.artifact import Artifact, open_artifact
    from edgellm.checkpoint import Checkpoint, open_checkpoint
    from edgellm.converters.gguf.convert import convert
    from edgellm.errors import EdgeLLMError
    from edgellm.families import read_spec
    from edgellm.plan import Budget, Plan
    from edgellm.planner import make_plan
    from edgellm.quant_tables import load_tables
    from edgellm.runtimes.api.model import Model
    from edgellm.spec import ModelSpec

__all__ = [
    "Artifact",
    "Budget",
    "Checkpoint",
    "EdgeLLMError",
    "Model",
    "ModelSpec",
    "Plan",
    "convert",
    "load",
    "load_async",
    "load_tables",
    "make_plan",
    "open_artifact",
    "open_checkpoint",
    "read_spec",
]

_HOMES = MappingProxyType(
    {
        "Artifact": "edgellm.artifact",
        "Budget": "edgellm.plan",
        "Checkpoint": "edgellm.checkpoint",
        "EdgeLLMError": "edgellm.errors",
        "Model": "edgellm.runtimes.api.model",
        "ModelSpec": "edgellm.spec",
        "Plan": "edgellm.plan",
        "convert": "edgellm.converters.gguf.convert",
        "load": "edgellm.apps.loading",
        "load_async": "edgellm.apps.loading",
        "load_tables": "edgellm.quant_tables",
        "make_plan": "edgellm.planner",
        "open_artifact": "edgellm.artifact",
        "open_checkpoint": "edgellm.checkpoint",
        "read_spec": "edgellm.families",
    }
)


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'edgellm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if getattr(sys, "frozen", False):
    from edgellm.children import become_child

    become_child()
