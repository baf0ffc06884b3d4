"""`edgellm eval`: what a model lost against its reference, on a text."""

from pathlib import Path
from typing import Annotated

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.planning import PlanningOptions
from edgellm.apps.cli.settings import home
from edgellm.errors import UsageError


def command(
    call: typer.Context,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="An artifact, a GGUF file, a stored name, a checkpoint (converted on first use) "
            "or a Hub name.",
            show_default=False,
            autocompletion=cli.stored_names,
        ),
    ],
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="REF",
            help="What MODEL should be like: the same kinds; a checkpoint becomes f16.",
            autocompletion=cli.stored_names,
        ),
    ],
    text: Annotated[
        Path, typer.Option("--text", metavar="FILE", help="Text to compare on, in UTF-8.")
    ],
    window: Annotated[
        int,
        typer.Option(
            "--window",
            metavar="TOKENS",
            min=8,
            help="Tokens a model sees at once; the second half is scored.",
        ),
    ] = 512,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens", metavar="N", min=1, help="Use N tokens of the text. Default: all."
        ),
    ] = None,
    key_format: Annotated[
        str, typer.Option("--key-format", metavar="NAME", help="Format of MODEL's K cache.")
    ] = "f16",
    value_format: Annotated[
        str, typer.Option("--value-format", metavar="NAME", help="Format of MODEL's V cache.")
    ] = "f16",
    memory: cli.Memory = None,
    context: cli.Context = None,
    threads: cli.Threads = None,
    offline: cli.Offline = False,
    json: cli.Json = False,
) -> None:
    """Compare a model with its reference: KL divergence, top token, perplexity.

    Windows are cut and scored as llama-perplexity describes them.
    --memory and --context plan a MODEL that is a checkpoint. The reference's KV cache is f16.
    """
    from edgellm.apps.cli import quality
    from edgellm.apps.cli.models import find_loadable, needs_conversion
    from edgellm.evaluation import first_scored
    from edgellm.runtimes.protocol import ScoringOptions
    from edgellm.store import Store

    if tokens is not None and tokens < window:
        raise UsageError(f"--tokens {tokens} is less than one window of {window}")
    content = quality.read_text(text)
    store = Store(home())
    converts = needs_conversion(model, store)
    if not converts and (typed := cli.typed(call, ("memory", "context"))):
        raise UsageError(f"--{typed[0]} plans a checkpoint, and {model} is converted already")
    planning = PlanningOptions(memory, context) if converts else PlanningOptions()
    whole = quality.reference_planning()
    pair = quality.Pair(
        find_loadable(model, planning, store, offline=offline, threads=threads).gguf,
        find_loadable(reference, whole, store, offline=offline, threads=threads).gguf,
        ScoringOptions(window, first_scored(window), key_format, value_format, threads),
    )
    found = quality.compare(pair, content, str(text), tokens, store.cache)
    report = quality.Report(model, reference, str(text), pair.scoring, found)
    if json:
        print_json(report.to_json())
        return
    for line in report.lines():
        print(line)
