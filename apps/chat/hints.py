"""What the screen says of its keys, as they are now."""

from collections.abc import Mapping

Keys = Mapping[str, str]  # by the names of config.toml, several parted by commas
_NAMES = {"escape": "Esc", "left_square_bracket": "[", "right_square_bracket": "]"}


def shown_key(keys: str) -> str:
    """The first of some keys as people write it: "ctrl+j,shift+enter" is Ctrl+J."""
    key = keys.split(",")[0].strip()
    if len(key) == 1:
        return key
    return "+".join(_NAMES.get(part, part.capitalize()) for part in key.split("+"))


def placeholder(keys: Keys) -> str:
    """What stands in an empty prompt."""
    send, newline = shown_key(keys["send"]), shown_key(keys["newline"])
    return f"Write here; {send} sends, {newline} begins a line, / is for commands"


def of_turn(keys: Keys) -> str:
    """What may be done with a selected turn."""
    names = ("edit", "regenerate", "copy", "code", "branch")
    parts = [f"{shown_key(keys[f'turn.{name}'])} {name}" for name in names]
    before, after = (shown_key(keys[f"turn.branch-{name}"]) for name in ("before", "after"))
    return " · ".join([*parts, f"{before} {after} other branches", "Esc back"])


def welcome(keys: Keys) -> str:
    """What stands where nothing was said yet, in Markdown."""
    shown = {name: f"**{shown_key(key)}**" for name, key in keys.items()}
    return (
        "Everything that is said here stays on this machine, and is kept as it is said.\n\n"
        f"- {shown['send']} sends, {shown['newline']} begins a line, **/** lists commands\n"
        f"- {shown['stop']} stops an answer; what it has said stays\n"
        f"- {shown['previous']} selects a turn, to edit it, copy it or ask it again\n"
        f"- {shown['model']} chooses a model, {shown['open']} opens a conversation, "
        f"{shown['help']} shows every key\n"
    )
