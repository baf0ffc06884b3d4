"""What the command line prints: JSON and results on stdout, notes on stderr."""

import json
import sys
from typing import Any

from edgellm.apps.cli.settings import tells_json


def print_json(document: dict[str, Any]) -> None:
    """Print the one JSON object of a `--json` command."""
    print(json.dumps(document, ensure_ascii=False, indent=1))


def note(text: str) -> None:
    """Tell the person at the terminal, or the program behind it, what is not the result."""
    sys.stdout.flush()  # so that a terminal shows both streams in order
    if tells_json():
        tell_json({"note": text})
    else:
        print(text, file=sys.stderr, flush=True)


def tell_json(document: dict[str, Any]) -> None:
    """One line on stderr, in ASCII and written at once: native libraries write there as well."""
    sys.stderr.write(f"{json.dumps(document)}\n")
    sys.stderr.flush()
