"""Commands run as processes of their own, so that what one imports is not the next one's memory."""

from edgellm.children import child_command


def edgellm_command(*arguments: str) -> list[str]:
    """The command line that runs this same edgellm; start it with child_environment()."""
    return child_command("edgellm", *arguments)
