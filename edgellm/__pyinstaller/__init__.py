"""Tells PyInstaller, which asks through an entry point, how to pack edgellm into an app."""

from pathlib import Path


def get_hook_dirs() -> list[str]:
    """Where the hooks are."""
    return [str(Path(__file__).parent)]
