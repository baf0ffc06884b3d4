"""`edgellm demo`: the whole way from a checkpoint to an answer, on the bundled model."""

import shlex
import subprocess
from typing import Annotated, Any

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.child import edgellm_command
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.planning import STATIC
from edgellm.children import child_environment

QUESTION = "Where did you find the old letter?"
MEMORY = "58MiB"
CONTEXT = 1024  # tokens
SEED = "2"
MODE = STATIC  # the budget leaves six bits a weight, where measuring changes little


def command(
    question: Annotated[str, typer.Argument(metavar="[QUESTION]")] = QUESTION,
    memory: cli.Memory = MEMORY,
    context: cli.Context = CONTEXT,
    sensitivity: cli.SensitivityMode = MODE,
    json: cli.Json = False,
) -> None:
    """Convert the bundled model under a budget and answer with it; needs no network."""
    from edgellm.bundled import BUNDLED_NAME

    budget = ["--memory", str(memory), "--context", str(context)]
    budget += ["--sensitivity", str(sensitivity)]
    steps = (
        ["inspect", BUNDLED_NAME],
        ["plan", BUNDLED_NAME, *budget],
        ["convert", BUNDLED_NAME, *budget, "--overwrite"],
        ["run", BUNDLED_NAME, question, "--stats", "--seed", SEED],
    )
    if json:
        print_json({step[0]: result_of(step) for step in steps})
        return
    for step in steps:
        print(f"$ edgellm {shlex.join(step)}", flush=True)
        check(subprocess.run(edgellm_command(*step), env=child_environment()).returncode)
        print(flush=True)
    print(f"Talk with it: edgellm chat {BUNDLED_NAME}")


def result_of(step: list[str]) -> Any:
    """The JSON object that one step prints."""
    import json

    command = edgellm_command(*step, "--json")
    done = subprocess.run(command, stdout=subprocess.PIPE, env=child_environment())
    check(done.returncode)
    return json.loads(done.stdout)


def check(code: int) -> None:
    """Leave as a failed step did; it has said why."""
    if code:
        raise typer.Exit(code)
