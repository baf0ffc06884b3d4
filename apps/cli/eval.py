"""`edgellm eval`: what a model lost against its reference, on a text."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.planning import PlanningOptions
from edgellm.apps.cli.settings import home
from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.apps.finding import Loadable
    from edgellm.saved_reference import ReferenceHeader

PLANNED = "plan"  # the KV formats of MODEL's own plan
WINDOW_TOKENS = 512  # llama-perplexity's
LEAST_SCORED = 2  # positions of a window: one has no standard error


def command(
    call: typer.Context,
    text: Annotated[
        Path, typer.Option("--text", metavar="FILE", help="Text to compare on, in UTF-8.")
    ],
    reference: Annotated[
        str,
        typer.Option(
            "--reference",
            metavar="REF",
            help="What MODEL should be like: the same kinds (a checkpoint becomes f16), or a file "
            "of --save-reference.",
            autocompletion=cli.stored_names,
        ),
    ],
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="An artifact, a GGUF file, a stored name, a checkpoint (converted on first use) "
            "or a Hub name. None: only save the reference.",
            show_default=False,
            autocompletion=cli.stored_names,
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            "--window",
            metavar="TOKENS",
            min=8,
            help="Tokens a model sees at once. Default: 512, or the saved reference's.",
        ),
    ] = None,
    score_from: Annotated[
        int | None,
        typer.Option(
            "--score-from",
            metavar="POSITION",
            min=0,
            help="First position of a window that counts. Default: its middle.",
        ),
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option(
            "--tokens", metavar="N", min=1, help="Use N tokens of the text. Default: all."
        ),
    ] = None,
    kv: Annotated[
        str,
        typer.Option(
            "--kv",
            metavar="FORMATS",
            help="MODEL's KV cache: plan (what its artifact was planned with; f16 for a bare GGUF "
            "file), or formats such as f16, q8_0 or q8_0/q4_0 (K/V).",
        ),
    ] = PLANNED,
    save_reference: Annotated[
        Path | None,
        typer.Option(
            "--save-reference",
            metavar="FILE",
            help="Keep what REF expects: with --reference FILE its model is not loaded again.",
        ),
    ] = None,
    memory: cli.Memory = None,
    context: cli.Context = None,
    threads: cli.Threads = None,
    offline: cli.Offline = False,
    json: cli.Json = False,
) -> None:
    """Compare a model with its reference: KL divergence, top token, perplexity.

    Windows are cut and scored as llama-perplexity does; a long --window shows how a coarse KV cache
    drifts. --memory and --context plan a MODEL that is a checkpoint. The reference's KV cache is
    f16.
    """
    from edgellm.apps.cli import quality
    from edgellm.apps.cli.keeping import target_for
    from edgellm.apps.cli.models import find_loadable
    from edgellm.apps.cli.quality_report import Report
    from edgellm.apps.finding import needs_conversion
    from edgellm.runtimes.options import ScoringOptions
    from edgellm.saved_reference import SavedReference, is_saved_reference
    from edgellm.store import Store

    if model is None and save_reference is None:
        raise UsageError("MODEL is missing; to save the reference alone, add --save-reference FILE")
    if model is None and (typed := cli.typed(call, ("kv", "memory", "context"))):
        raise UsageError(f"--{typed[0]} is for MODEL, and there is none; drop it")
    is_saved = is_saved_reference(Path(reference))
    if is_saved and save_reference is not None:
        raise UsageError(f"{reference} is a saved reference already; drop --save-reference")
    content = quality.Text(str(text), quality.read_text(text), tokens)
    store = Store(home())
    converts = model is not None and needs_conversion(model, store)
    if not converts and (typed := cli.typed(call, ("memory", "context"))):
        raise UsageError(f"--{typed[0]} plans a checkpoint, and {model} is converted already")
    planning = PlanningOptions(memory, context) if converts else PlanningOptions()

    def find(name: str, options: PlanningOptions) -> "Loadable":
        return find_loadable(name, options, offline=offline, threads=threads)

    with ExitStack() as opened:
        saved = opened.enter_context(SavedReference(Path(reference))) if is_saved else None
        length, first = chosen_window(window, score_from, None if saved is None else saved.header)
        if tokens is not None and tokens < length:
            raise UsageError(f"--tokens {tokens} is less than one window of {length}")
        found = None if model is None else find(model, planning)
        scoring = ScoringOptions(length, first, *cache_formats(kv, found), threads)
        if saved is None:
            expected = find(reference, quality.reference_planning())
            target = None
            if save_reference is not None:
                target = target_for(save_reference, reference, expected)
            gguf = None if found is None else found.gguf
            outcome = quality.compare(gguf, expected.gguf, scoring, content, target, store.cache)
        else:
            assert found is not None, "a saved reference is not saved again"
            outcome = quality.compare_with_saved(found.gguf, saved, scoring, content, store.cache)
    report = Report(model, reference, str(text), scoring, outcome)
    if json:
        print_json(report.to_json())
        return
    for line in report.lines():
        print(line)


def chosen_window(
    window: int | None, score_from: int | None, saved: "ReferenceHeader | None"
) -> tuple[int, int]:
    """Tokens of a window and the first position scored. Raises UsageError."""
    from edgellm.evaluation import first_scored

    if saved is not None:
        for option, typed, has in (
            ("--window", window, saved.window),
            ("--score-from", score_from, saved.first),
        ):
            if typed not in (None, has):
                raise UsageError(f"{option} {typed}: the reference was saved with {has}; drop it")
        return saved.window, saved.first
    length = WINDOW_TOKENS if window is None else window
    last = length - 1 - LEAST_SCORED
    if score_from is not None and score_from > last:
        raise UsageError(f"--score-from {score_from}: give 0 to {last} in a window of {length}")
    return length, first_scored(length) if score_from is None else score_from


def cache_formats(choice: str, model: "Loadable | None") -> tuple[str, str]:
    """The formats of K and V that --kv asks for; the engine says which names it knows."""
    if choice == PLANNED:
        artifact = None if model is None else model.artifact
        return (
            ("f16", "f16")
            if artifact is None
            else (artifact.plan.kv.key_format, artifact.plan.kv.value_format)
        )
    key, _, value = choice.partition("/")
    return key, value or key
