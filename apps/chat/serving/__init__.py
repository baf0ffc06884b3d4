"""`edgellm chat --serve`: the chat in a browser on this machine, by Textual's web front end.

The page, its scripts and fonts come from here; nothing is fetched from anywhere. One process of the
chat runs for the tab that was opened last, and ends with it.
"""

from collections.abc import Sequence
from contextlib import suppress
from importlib.util import find_spec

from edgellm.apps.cli.child import edgellm_command
from edgellm.errors import UnsupportedError, UsageError

_HIGHEST_PORT = 65535


def serve(arguments: Sequence[str], *, port: int, open_browser: bool) -> None:
    """Serve `edgellm chat ARGUMENTS` on 127.0.0.1 until Ctrl-C or SIGTERM; prints the address.

    port: 0 chooses one that is free. Raises UsageError where the port cannot be had, and
    UnsupportedError where textual-serve is not installed.
    """
    serve_command(edgellm_command("chat", *arguments), port=port, open_browser=open_browser)


def serve_command(command: Sequence[str], *, port: int, open_browser: bool) -> None:
    """`serve` for any command that runs a Textual app."""
    if not 0 <= port <= _HIGHEST_PORT:
        raise UsageError(f"--port {port}: expected 0 to {_HIGHEST_PORT}")
    if find_spec("textual_serve") is None:
        raise UnsupportedError(
            "chat --serve: textual-serve is not installed",
            next_step="Add it with: pip install 'edgellm[serve]'",
        )
    import asyncio

    from edgellm.apps.chat.serving.server import run

    with suppress(KeyboardInterrupt):  # where it is not a signal of the loop's
        asyncio.run(run(command, port, open_browser))
