"""`edgellm demo`: the whole way from a checkpoint to an answer, on the bundled model."""

from typing import Annotated

import typer

from edgellm.apps.cli.budget import PlanningOptions, plan_for
from edgellm.apps.cli.options import Context, Json, Memory
from edgellm.apps.cli.output import print_json, terminal_progress
from edgellm.apps.cli.settings import home

QUESTION = "Where did you find the old letter?"
SEED = 11  # an answer worth showing; any other question draws its own
MEMORY = "82MiB"
CONTEXT = 1024  # tokens


def command(
    question: Annotated[str, typer.Argument(metavar="[QUESTION]")] = QUESTION,
    memory: Memory = MEMORY,
    context: Context = CONTEXT,
    json: Json = False,
) -> None:
    """Convert the bundled model under a budget and answer with it; needs no network."""
    from edgellm.apps.cli.answer import (
        answer_lines,
        collect,
        load_options,
        report_json,
        stream,
        tell,
    )
    from edgellm.apps.cli.checkpoint_report import CheckpointReport
    from edgellm.apps.cli.tables import format_lines, plan_lines
    from edgellm.bundled import BUNDLED_NAME, bundled_checkpoint
    from edgellm.checkpoint import open_checkpoint
    from edgellm.converters import converter_for
    from edgellm.quant_tables import load_tables
    from edgellm.runtimes import open_runtime
    from edgellm.runtimes.protocol import Message
    from edgellm.store import Store

    def say(*lines: str) -> None:
        if not json:
            print(*lines, sep="\n", flush=True)

    checkpoint = open_checkpoint(bundled_checkpoint())
    report = CheckpointReport.of(checkpoint)
    say(f"1. The checkpoint: edgellm inspect {BUNDLED_NAME}", *report.lines())
    tables, store = load_tables(), Store(home())
    plan = plan_for(report.spec, PlanningOptions(memory, context), tables)
    say(f"\n2. The plan: edgellm plan {BUNDLED_NAME} --memory {memory} --context {context}")
    say(*plan_lines(plan), "", *format_lines(report.spec, plan.tensors))
    say(f"\n3. The conversion: edgellm convert {BUNDLED_NAME} --memory {memory}")
    with terminal_progress() as progress:
        artifact = converter_for("gguf")(
            checkpoint,
            report.spec,
            plan,
            store.path(BUNDLED_NAME),
            tables=tables,
            progress=progress,
            overwrite=True,
        )
    say(f"  {artifact.folder}", f"\n4. An answer: edgellm run {BUNDLED_NAME} {question!r}")
    runtime = open_runtime(plan.engine, store.cache)
    with runtime.load(artifact.gguf, load_options(artifact), on_event=tell) as model:
        events = model.generate([Message("user", question)])
        done = collect(events) if json else stream(events)
        if json:
            print_json(report_json(done, model, artifact))
        else:
            say("", *answer_lines(done, model, artifact))
