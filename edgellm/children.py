"""Processes of our own: how one is started, from Python and from a frozen app alike.

A frozen app has no `python -m`. It starts itself again with MARKER in front, and importing edgellm
there (or PyInstaller's run-time hook, before that) does the child's work in place of the app's.
"""

import os
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from types import MappingProxyType

from edgellm.errors import UnsupportedError

MARKER = "--edgellm-child"
# What may run as a child, and the module whose main() does it.
CHILDREN: Mapping[str, str] = MappingProxyType(
    {
        "edgellm": "edgellm.__main__",
        "edgellm.runtimes.host.chat_template_helper": "edgellm.runtimes.host.chat_template_helper",
        "edgellm.runtimes.llama_cpp.amx_probe": "edgellm.runtimes.llama_cpp.amx_probe",
        "edgellm.runtimes.llama_cpp.devices": "edgellm.runtimes.llama_cpp.devices",
        "edgellm.runtimes.worker": "edgellm.runtimes.worker.__main__",
    }
)


def is_frozen() -> bool:
    """Whether this process is an app that was packed together with its Python."""
    return bool(getattr(sys, "frozen", False))


def child_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs `module`, a key of CHILDREN, in a process of its own.

    Start it with child_environment(). Raises UnsupportedError where Python cannot be started.
    """
    assert module in CHILDREN
    if not sys.executable:
        raise UnsupportedError(
            "a process of its own: this Python does not know its executable (sys.executable)"
        )
    if is_frozen():
        return [sys.executable, MARKER, module, *arguments]
    # -P: a msgspec.py in the current folder is not the library.
    return [sys.executable, "-P", "-m", module, *arguments]


def child_environment() -> dict[str, str]:
    """The environment in which a child finds the modules that this process finds.

    That is where an app has put edgellm on sys.path itself, too; the current folder is left out
    unless edgellm is in it.
    """
    environment = dict(os.environ)
    if not is_frozen():
        environment["PYTHONPATH"] = os.pathsep.join(_import_folders())
    return environment


def _import_folders() -> list[str]:
    ours = str(Path(__file__).parent.parent)
    try:
        here = str(Path.cwd())
    except FileNotFoundError:  # somebody removed it
        here = ""
    return [folder for folder in sys.path if folder == ours or folder not in ("", here)]


def become_child() -> None:
    """Where a frozen app was started as a child of edgellm: do its work, then exit."""
    if not is_frozen() or sys.argv[1:2] != [MARKER]:
        return
    sys.argv = sys.argv[2:]
    if not sys.argv or sys.argv[0] not in CHILDREN:
        sys.exit(f"{MARKER}: no such child; known: {', '.join(CHILDREN)}")
    # This may run while edgellm is being imported, and a thread that imports from a half-imported
    # package waits for ever; so the child imports another one.
    for name in ("edgellm", __name__):
        sys.modules.pop(name, None)
    import_module(CHILDREN[sys.argv[0]]).main()
    sys.exit(0)
