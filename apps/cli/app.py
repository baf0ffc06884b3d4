"""The verbs put together, and the one place where an error becomes a line and an exit code."""

import sys
from collections.abc import Sequence

import typer

from edgellm.apps.cli import (
    bench,
    chat,
    config,
    convert,
    demo,
    doctor,
    inspect,
    ls,
    plan,
    rm,
    show,
)
from edgellm.apps.cli import eval as eval_verb
from edgellm.apps.cli import run as run_verb
from edgellm.apps.cli.errors import INTERRUPTED, exit_code, one_line
from edgellm.apps.cli.settings import option_defaults, tells_json
from edgellm.apps.cli.streams import fill_closed_streams, is_unwritable, silence_stdout
from edgellm.errors import EdgeLLMError, OutputError

app = typer.Typer(
    name="edgellm",
    help="Turn a Hugging Face checkpoint into the best model that fits your memory, and run it.",
    no_args_is_help=True,
    rich_markup_mode=None,  # plain help starts in a third of the time
    pretty_exceptions_enable=False,
)
for verb in (
    inspect,
    plan,
    convert,
    run_verb,
    chat,
    eval_verb,
    bench,
    demo,
    doctor,
    ls,
    show,
    rm,
    config,
):
    app.command(verb.__name__.rpartition(".")[2])(verb.command)


@app.callback(invoke_without_command=True)
def about(
    version: bool = typer.Option(False, "--version", help="Print the version and leave."),
) -> None:
    if version:
        from importlib.metadata import version as installed_version

        print(f"edgellm {installed_version('edgellm')}")
        raise typer.Exit


def run(arguments: Sequence[str]) -> int:
    """Run one command line; returns its exit code. Errors are one line on standard error."""
    fill_closed_streams()
    try:
        tells_json()  # a way that is unknown is refused before anything begins
        code = app(
            list(arguments),
            prog_name="edgellm",
            standalone_mode=False,
            default_map=option_defaults(),
        )
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader left (`edgellm ls | head -1`); a closed stdout must not fail again at exit.
        silence_stdout()
        return 0
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        if not is_unwritable(error):
            raise
        silence_stdout()
        failure = OutputError(f"standard output: cannot be written: {error.strerror}")
        print(f"edgellm: {one_line(failure)}", file=sys.stderr)
        return exit_code(failure)
    except (EdgeLLMError, typer.TyperException) as error:
        print(f"edgellm: {one_line(error)}", file=sys.stderr)
        return exit_code(error)
    return code if isinstance(code, int) else 0
