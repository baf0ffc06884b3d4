"""`edgellm convert`: a checkpoint becomes an artifact."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import note, print_json
from edgellm.apps.cli.planning import PlanningOptions, chosen_mode
from edgellm.apps.cli.progress_sinks import terminal_progress
from edgellm.apps.cli.settings import home
from edgellm.errors import BudgetError, UsageError
from edgellm.units import format_bytes


def command(
    context_of_call: typer.Context,
    ckpt: cli.CheckpointArgument,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="OUT",
            help="Folder to make. Default: the local store, under the checkpoint's name.",
        ),
    ] = None,
    to: Annotated[str, typer.Option("--to", help="Kind of artifact: gguf.")] = "gguf",
    plan: Annotated[
        Path | None, typer.Option("--plan", metavar="FILE", help="A plan saved by `edgellm plan`.")
    ] = None,
    memory: cli.Memory = None,
    context: cli.Context = None,
    weights_memory: cli.WeightsMemory = None,
    target_bpw: cli.TargetBpw = None,
    format: cli.Format = None,
    min_speed: cli.MinSpeed = None,
    prefer: cli.Prefer = None,
    sensitivity: cli.SensitivityMode = None,
    calibration: cli.CalibrationText = None,
    imatrix: cli.Imatrix = None,
    threads: cli.Threads = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the artifact that is there.")
    ] = False,
    offline: cli.Offline = False,
    json: cli.Json = False,
) -> None:
    """Convert a checkpoint under a memory budget. An interrupted conversion resumes."""
    from edgellm.apps.cli.deciding import Request, decide
    from edgellm.apps.cli.models import open_reference
    from edgellm.apps.cli.tables import file_lines
    from edgellm.apps.finding import store_name
    from edgellm.apps.refusals import refusal
    from edgellm.converters import converter_for
    from edgellm.families import read_spec
    from edgellm.quant_tables import load_tables
    from edgellm.store import Store

    convert = converter_for(to)
    options = PlanningOptions(
        memory, context, weights_memory, target_bpw, format, min_speed, prefer
    )
    if plan is not None and (typed := cli.typed(context_of_call, [*options.given, "sensitivity"])):
        raise UsageError(f"--plan already decides; drop --{typed[0].replace('_', '-')}")
    if output is not None and output.suffix == ".gguf":
        raise UsageError(f"OUT is a folder that will hold model.gguf; try -o {output.stem}")
    is_typed = bool(cli.typed(context_of_call, ["sensitivity"]))
    mode = chosen_mode(sensitivity, options, calibration, is_typed=is_typed)
    request = Request(options, mode, calibration, plan, threads, imatrix)
    request.check()
    checkpoint = open_reference(ckpt, offline=offline)
    spec, tables, store = read_spec(checkpoint), load_tables(), Store(home())
    try:
        decision = decide(request, checkpoint, spec, tables, store)
    except BudgetError as error:
        if json:
            print_json(refusal(error))
        raise
    out = output or store.path(store_name(spec.name))
    with resumable(decision.plan.budget_bytes), terminal_progress() as progress:
        artifact = convert(
            checkpoint,
            spec,
            decision.plan,
            out,
            tables=tables,
            progress=progress,
            threads=threads,
            overwrite=overwrite,
            calibration=decision.calibration,
        )
    if json:
        files = [entry.to_json() for entry in artifact.files]
        print_json({"artifact": str(out), "files": files, "plan": artifact.plan.to_json()})
        return
    for line in file_lines(artifact.files):
        print(line)
    note(f"converted to {out}; answer with it: edgellm run {out if output else out.name} 'Hello'")


@contextmanager
def resumable(budget_bytes: int) -> Iterator[None]:
    """Say after an interrupt how to go on; the budget is part of what makes the bytes."""
    try:
        yield
    except KeyboardInterrupt:
        note(
            "interrupted; the same command goes on from here "
            f"(the plan's budget is {format_bytes(budget_bytes)})"
        )
        raise
