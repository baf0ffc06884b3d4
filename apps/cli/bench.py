"""`edgellm bench`: how fast a model loads, reads and writes here."""

from time import monotonic
from typing import TYPE_CHECKING, Annotated

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.errors import INTERRUPTED
from edgellm.apps.cli.output import note, print_json
from edgellm.apps.cli.planning import PlanningOptions
from edgellm.apps.cli.settings import home
from edgellm.errors import Cancelled, UsageError

if TYPE_CHECKING:
    from edgellm.apps.cli.speed_rounds import Course, Sample, SpeedRounds
    from edgellm.apps.finding import Loadable
    from edgellm.runtimes.api.launch import Launch


def command(
    model: cli.Model,
    prompt_tokens: Annotated[
        int, typer.Option("-p", "--prompt-tokens", metavar="N", min=1, help="Tokens to read.")
    ] = 512,
    generate_tokens: Annotated[
        int, typer.Option("-n", "--generate-tokens", metavar="N", min=1, help="Tokens to write.")
    ] = 128,
    depth: Annotated[
        str,
        typer.Option(
            "-d",
            "--depth",
            metavar="N[,N...]",
            help="Tokens that are in the KV cache before; several are measured one by one.",
        ),
    ] = "0",
    rounds: Annotated[
        int,
        typer.Option(
            "-r", "--rounds", metavar="N", min=1, help="Rounds that count; one more warms up."
        ),
    ] = 5,
    memory: cli.Memory = None,
    context: cli.Context = None,
    threads: cli.Threads = None,
    ubatch: Annotated[
        int | None,
        typer.Option(
            "--ubatch",
            metavar="TOKENS",
            min=1,
            help="Prompt tokens computed at once. Default: what the plan says, or 512.",
        ),
    ] = None,
    gpu_layers: cli.GpuLayers = None,
    weights: cli.Weights = "read",
    isolation: cli.Isolation = "process",
    offline: cli.Offline = False,
    json: cli.Json = False,
) -> None:
    """Measure load, first token, prefill and decode: medians over rounds.

    pp and tg are llama-bench's tests, with its names: read N tokens, write N tokens, behind DEPTH
    others. The table ends with the llama-bench command that measures the same, to lay both side by
    side. Here the clock is the caller's, so that the engine's own process and the sampling of each
    token (greedy, past the end of text) count as well; --isolation none leaves the process out.
    Ctrl-C ends it with a table of the rounds so far.
    """
    from edgellm.apps.cli.models import find_loadable
    from edgellm.apps.cli.speed_rounds import Course
    from edgellm.apps.launching import LoadSettings, launch
    from edgellm.store import Store

    course = Course(prompt_tokens, generate_tokens, chosen_depths(depth), rounds)
    planning = PlanningOptions(memory=memory, context=context)
    found = find_loadable(model, planning, offline=offline, threads=threads)
    settings: LoadSettings = {
        "memory": memory,
        "context": context or needed_context(course, found),
        "threads": threads,
        "ubatch": ubatch,
        "gpu_layers": gpu_layers,
        "weights": weights,
        "isolation": isolation,
    }
    measure(launch(found, settings, Store(home())), course, json=json)


def measure(launch: "Launch", course: "Course", *, json: bool) -> None:
    """Go through the course and print its report. Raises typer.Exit when Ctrl-C cut it short."""
    from edgellm.apps.cli.answer import cancelled_by_interrupt, tell
    from edgellm.apps.cli.speed_report import Report
    from edgellm.apps.cli.speed_rounds import SpeedRounds
    from edgellm.runtimes.api.model import Model
    from edgellm.runtimes.protocol import ignore_events

    with cancelled_by_interrupt() as cancel:
        rounds = SpeedRounds(
            lambda: Model(launch.open(tell if rounds.info is None else ignore_events, cancel)),
            course,
            cancel,
        )
        samples, ended = collected(rounds, course)
    if rounds.info is not None and {sample.depth for sample in samples} == set(course.depths):
        report = Report(launch.path, course, launch.isolation, rounds.info, samples)
        if json:
            print_json(report.to_json())
        else:
            print("\n".join(report.lines()))
    if not ended:
        raise typer.Exit(INTERRUPTED)


def needed_context(course: "Course", found: "Loadable") -> int | None:
    """More than the default where a file without a plan needs it; None leaves it as it is."""
    from edgellm.plan import DEFAULT_CONTEXT

    if found.artifact is not None or course.context <= DEFAULT_CONTEXT:
        return None
    return course.context


def chosen_depths(text: str) -> tuple[int, ...]:
    """The depths that "0,4096" names, in that order. Raises UsageError."""
    try:
        depths = tuple(int(part) for part in text.split(","))
    except ValueError:
        depths = (-1,)
    if min(depths) < 0 or len(set(depths)) < len(depths):
        raise UsageError(f"--depth {text}: give numbers of tokens, such as 0 or 0,4096")
    return depths


def collected(rounds: "SpeedRounds", course: "Course") -> "tuple[list[Sample], bool]":
    """The samples that count, and whether all of them came; notes say how far it is.

    Nothing is drawn while something is measured: that would take part of a processor.
    """
    samples: list[Sample] = []
    began, total = monotonic(), (1 + course.rounds) * len(course.depths)
    try:
        for done, (number, sample) in enumerate(rounds.samples(), start=1):
            left_s = (monotonic() - began) / done * (total - done)
            what = f"round {number} of {course.rounds}" if number else "warm-up"
            note(
                f"{what}, depth {sample.depth}: {sample.prefill_tokens_per_s:.1f} tokens/s read, "
                f"{sample.decode_tokens_per_s:.1f} written; {left_s:.0f} s left"
            )
            if number:
                samples.append(sample)
    except Cancelled:
        return samples, False
    return samples, True
