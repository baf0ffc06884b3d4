"""`edgellm ls`: the local store."""

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.settings import home


def command(json: cli.Json = False) -> None:
    """List the converted models in the local store."""
    from edgellm.store import Store
    from edgellm.units import format_bytes

    models = [
        {
            "name": name,
            "family": artifact.source.family,
            "bytes": sum(file.bytes for file in artifact.files),
            "bits_per_weight": artifact.plan.bits_per_weight,
            "memory_bytes": artifact.plan.memory.total_bytes,
            "context": artifact.plan.kv.context,
        }
        for name, artifact in Store(home()).artifacts()
    ]
    if json:
        print_json({"store": str(home()), "models": models})
        return
    if not models:
        print("The store is empty. Fill it with: edgellm convert CKPT")
        return
    width = max(len(str(model["name"])) for model in models)
    print(f"{'NAME':<{width}}  {'SIZE':>10}  {'BITS':>5}  {'MEMORY':>10}  CONTEXT")
    for name, artifact in Store(home()).artifacts():
        file_bytes = format_bytes(sum(file.bytes for file in artifact.files))
        plan = artifact.plan
        print(
            f"{name:<{width}}  {file_bytes:>10}  {plan.bits_per_weight:>5.2f}  "
            f"{format_bytes(plan.memory.total_bytes):>10}  {plan.kv.context}"
        )
