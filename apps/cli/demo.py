"""`edgellm demo`: the whole way from a checkpoint to an answer, on the bundled model."""

from typing import Annotated

import typer

from edgellm.apps.cli.budget import PlanningOptions, plan_for
from edgellm.apps.cli.options import Context, Json, Memory
from edgellm.apps.cli.output import note, print_json, terminal_progress
from edgellm.apps.cli.run import collect, load_options, report_json, stream, tell
from edgellm.apps.cli.settings import home
from edgellm.runtimes.protocol import Message

QUESTION = "Where did you find the old letter?"
DEMO_MEMORY = "100MiB"
DEMO_CONTEXT = 1024  # tokens


def command(
    question: Annotated[str, typer.Argument(metavar="[QUESTION]")] = QUESTION,
    memory: Memory = DEMO_MEMORY,
    context: Context = DEMO_CONTEXT,
    json: Json = False,
) -> None:
    """Convert the bundled model under a budget and answer with it; needs no network."""
    from edgellm.apps.cli.inspect import report_lines
    from edgellm.apps.cli.tables import format_lines, plan_lines
    from edgellm.bundled import BUNDLED_NAME, bundled_checkpoint
    from edgellm.checkpoint import open_checkpoint
    from edgellm.converters import converter_for
    from edgellm.families import read_spec
    from edgellm.quant_tables import load_tables
    from edgellm.runtimes import open_runtime
    from edgellm.store import Store
    from edgellm.tokenizer import describe_tokenizer

    checkpoint = open_checkpoint(bundled_checkpoint())
    spec = read_spec(checkpoint)
    tables = load_tables()
    plan = plan_for(spec, PlanningOptions(memory, context), tables)
    if not json:
        print("1. The checkpoint: edgellm inspect", BUNDLED_NAME)
        for line in report_lines(spec, describe_tokenizer(checkpoint), checkpoint.notices):
            print(line)
        print(f"\n2. The plan: edgellm plan {BUNDLED_NAME} --memory {memory} --context {context}")
        for line in (*plan_lines(plan), "", *format_lines(spec, plan.tensors)):
            print(line)
        print(f"\n3. The conversion: edgellm convert {BUNDLED_NAME} --memory {memory}")
    store = Store(home())
    with terminal_progress() as progress:
        artifact = converter_for("gguf")(
            checkpoint,
            spec,
            plan,
            store.path(BUNDLED_NAME),
            tables=tables,
            progress=progress,
            overwrite=True,
        )
    load = load_options(artifact, None, None, None, 0)
    with open_runtime("llama.cpp", store.cache).load(artifact.gguf, load, on_event=tell) as model:
        if json:
            done = collect(model.generate([Message("user", question)]))
            print_json(report_json(done, model, artifact))
            return
        print(f"  {artifact.folder}\n\n4. An answer: edgellm run {BUNDLED_NAME} {question!r}")
        stream(model.generate([Message("user", question)]))
    note(f"\nGo on with: edgellm run {BUNDLED_NAME} 'your own question'")
