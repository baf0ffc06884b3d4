"""The command line: one verb per file."""

import sys
from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and leave the process with its exit code."""
    from edgellm.apps.cli.app import run

    sys.exit(run(sys.argv[1:] if arguments is None else arguments))
