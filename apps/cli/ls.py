"""`edgellm ls`: the local store."""

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.errors import one_line
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.settings import home
from edgellm.errors import InputError

if TYPE_CHECKING:
    from edgellm.artifact import Artifact
    from edgellm.store import Store


def command(json: cli.Json = False) -> None:
    """List the converted models in the local store."""
    from edgellm.store import Store

    models, broken = _opened(Store(home()))
    if json:
        print_json(
            {
                "store": str(home()),
                "models": [_facts(name, artifact) for name, artifact in models],
                "broken": [{"name": name, "error": why} for name, why in broken],
            }
        )
        return
    if models:
        _print_table(models)
    elif not broken:
        print("The store is empty. Fill it with: edgellm convert CKPT")
    for name, why in broken:
        print(f"broken: {why}; edgellm rm {name} removes it", file=sys.stderr)


def _opened(store: "Store") -> tuple[list[tuple[str, "Artifact"]], list[tuple[str, str]]]:
    """What is stored, by its name, and why the rest cannot be read."""
    models, broken = [], []
    for name in store.names():
        try:
            models.append((name, store.open(name)))
        except InputError as error:
            broken.append((name, one_line(error)))
    return models, broken


def _facts(name: str, artifact: "Artifact") -> dict[str, object]:
    return {
        "name": name,
        "family": artifact.source.family,
        "bytes": sum(file.bytes for file in artifact.files),
        "bits_per_weight": artifact.plan.bits_per_weight,
        "memory_bytes": artifact.plan.memory.total_bytes,
        "context": artifact.plan.kv.context,
    }


def _print_table(models: "Sequence[tuple[str, Artifact]]") -> None:
    from edgellm.units import format_bytes

    width = max(len(name) for name, _ in models)
    print(f"{'NAME':<{width}}  {'SIZE':>10}  {'BITS':>5}  {'MEMORY':>10}  CONTEXT")
    for name, artifact in models:
        file_bytes = format_bytes(sum(file.bytes for file in artifact.files))
        plan = artifact.plan
        print(
            f"{name:<{width}}  {file_bytes:>10}  {plan.bits_per_weight:>5.2f}  "
            f"{format_bytes(plan.memory.total_bytes):>10}  {plan.kv.context}"
        )
