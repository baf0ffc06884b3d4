"""`edgellm show`: one stored artifact with its plan and files."""

from typing import Annotated

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.settings import home


def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="A name from the store, or an artifact folder.",
            autocompletion=cli.stored_names,
        ),
    ],
    json: cli.Json = False,
) -> None:
    """Show what a converted model is: its plan, its files, where it came from."""
    from edgellm.apps.cli.tables import file_lines, plan_lines
    from edgellm.apps.finding import open_named_artifact
    from edgellm.store import Store

    artifact = open_named_artifact(model, Store(home()))
    if json:
        print_json({"artifact": str(artifact.folder), **artifact.to_json()})
        return
    print(f"{artifact.folder}: {artifact.source.name}, {artifact.source.family} family")
    for line in (*plan_lines(artifact.plan), "", *file_lines(artifact.files)):
        print(line)
