"""`edgellm rm`: remove a model from the local store."""

import sys
from typing import Annotated

import typer

from edgellm.apps.cli import options as cli
from edgellm.apps.cli.output import print_json
from edgellm.apps.cli.settings import home
from edgellm.errors import UsageError


def command(
    name: Annotated[
        str, typer.Argument(metavar="NAME", show_default=False, autocompletion=cli.stored_names)
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: cli.Json = False,
) -> None:
    """Remove a converted model from the local store."""
    from edgellm.store import Store
    from edgellm.units import format_bytes

    store = Store(home())
    store.check(name)
    if not yes:
        if json or not sys.stdin.isatty():
            raise UsageError(f"rm {name}: nobody here to ask; add --yes")
        typer.confirm(f"Remove {name} from {store.models}?", abort=True, err=True)
    freed_bytes = store.remove(name)
    if json:
        print_json({"removed": name, "freed_bytes": freed_bytes})
    else:
        print(f"Removed {name}, {format_bytes(freed_bytes)}.")
