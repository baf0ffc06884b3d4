"""Commands run as processes of their own, so that what one imports is not the next one's memory."""

import sys


def edgellm_command(*arguments: str) -> list[str]:
    """The command line that runs this same edgellm."""
    return [sys.executable, "-m", "edgellm", *arguments]
