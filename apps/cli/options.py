"""Options that several verbs share, so that each is spelled and explained once."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[
    bool, typer.Option("--json", help="Print one JSON object; progress goes to stderr.")
]
Offline = Annotated[
    bool,
    typer.Option("--offline", envvar="EDGELLM_OFFLINE", help="Open no connection to any server."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        "--memory",
        metavar="SIZE",
        envvar="EDGELLM_MEMORY",
        help="Memory for everything: weights, KV cache, compute buffers, the process. "
        "Example: 4GiB. Default: what is free now, less a reserve.",
    ),
]
Context = Annotated[
    int | None,
    typer.Option(
        "--context",
        metavar="TOKENS",
        envvar="EDGELLM_CONTEXT",
        help="Tokens the KV cache must hold. Default: 4096, or less where the model has less.",
    ),
]
WeightsMemory = Annotated[
    str | None,
    typer.Option("--weights-memory", metavar="SIZE", help="Cap on the weights alone."),
]
TargetBpw = Annotated[
    float | None,
    typer.Option("--target-bpw", metavar="BITS", help="Cap on the mean bits per weight."),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        metavar="NAME",
        help="One format for every matrix instead of a mix, such as f16 or q4_K.",
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        metavar="N",
        min=1,
        max=1024,
        envvar="EDGELLM_THREADS",
        help="Threads. Default: one per physical core.",
    ),
]
CheckpointArgument = Annotated[
    str,
    typer.Argument(
        metavar="CKPT",
        help="A checkpoint folder, or a Hub name (org/name).",
        show_default=False,
    ),
]


def stored_names(incomplete: str) -> list[str]:
    """Names of stored models that begin so, for the shell's completion."""
    from edgellm.apps.cli.settings import home
    from edgellm.store import Store

    return [name for name in Store(home()).names() if name.startswith(incomplete)]


OutFile = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="Also save the plan as JSON."),
]
