"""What the screen says of its keys, as they are now."""

from collections.abc import Mapping

from rich.cells import cell_len

from edgellm.apps.chat.transcript.turns import TurnItem

Keys = Mapping[str, str]  # by the names of config.toml, several parted by commas
_NAMES = {
    "escape": "Esc",
    "pageup": "PgUp",
    "pagedown": "PgDn",
    "left_square_bracket": "[",
    "right_square_bracket": "]",
}


def shown_key(keys: str) -> str:
    """The first of some keys as people write it: "ctrl+j,shift+enter" is Ctrl+J."""
    key = keys.split(",")[0].strip()
    if len(key) == 1:
        return key
    return "+".join(_NAMES.get(part, part.capitalize()) for part in key.split("+"))


def placeholder(keys: Keys) -> str:
    """What stands in an empty prompt."""
    send, newline = shown_key(keys["send"]), shown_key(keys["newline"])
    return f"Write here: {send} sends, {newline} new line, / commands"


def of_turn(keys: Keys, item: TurnItem, cells: int) -> str:
    """What may be done with a selected turn: as much of it as fits, how to leave it first."""
    names = ["edit", "regenerate", "copy"]
    names += ["code"] if item.codes else []
    parts = [f"{shown_key(keys['stop'])} back"]
    parts += [f"{shown_key(keys[f'turn.{name}'])} {name}" for name in names]
    if item.heading.count > 1:
        before, after = (shown_key(keys[f"turn.branch-{name}"]) for name in ("before", "after"))
        parts.append(f"{before} {after} other branches")
    if item.thoughts:
        parts.append(f"{shown_key(keys['turn.thoughts'])} thoughts")
    parts.append(f"{shown_key(keys['turn.branch'])} branch")
    while len(parts) > 1 and cell_len(" · ".join(parts)) > cells:
        parts.pop()
    return " · ".join(parts)


def of_edit(keys: Keys, role: str) -> str:
    """What becomes of a turn that is edited."""
    send, leave = shown_key(keys["send"]), shown_key(keys["stop"])
    done = "asks it anew beside the old one" if role == "user" else "keeps it beside the old one"
    return f"editing: {send} {done}, {leave} leaves it as it was"


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
