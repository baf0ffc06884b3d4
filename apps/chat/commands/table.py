"""Every command of the chat: its name, what it does, its keys, and where its function is."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_HERE = "edgellm.apps.chat.commands"


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that can be done; `name` is its slash command and its name in config.toml."""

    name: str
    title: str  # a sentence for people
    group: str
    function: str  # "module:function" within this package
    keys: str = ""  # anywhere; several are parted by commas
    turn_keys: str = ""  # while a turn is selected
    argument: str = ""  # what may follow the slash command, for people

    @property
    def module(self) -> str:
        return f"{_HERE}.{self.function.partition(':')[0]}"

    @property
    def function_name(self) -> str:
        return self.function.partition(":")[2]


_ANSWERS, _TURNS, _CHATS = "Answers", "Turns", "Conversations"
_MODEL, _HOW, _VIEW = "Model and memory", "How it answers", "View"

COMMANDS: tuple[Command, ...] = (
    Command("stop", "Stop the answer, or the load", _ANSWERS, "answers:stop", "escape"),
    Command(
        "regenerate",
        "Answer the last question again, as another branch",
        _ANSWERS,
        "answers:regenerate",
        "f5",
        "r",
    ),
    Command(
        "edit",
        "Change a question and send it again, as another branch; or change an answer",
        _ANSWERS,
        "turns:edit",
        "f4",
        "e",
    ),
    Command("undo", "Take back the last question and its answer", _ANSWERS, "turns:undo", "alt+z"),
    Command("redo", "Bring back what was taken back", _ANSWERS, "turns:redo", "alt+y"),
    Command(
        "attach",
        "Attach a text file to the next question; its tokens are counted first",
        _ANSWERS,
        "attaching:attach",
        "ctrl+t",
        argument="FILE",
    ),
    Command("detach", "Take attached files off again", _ANSWERS, "attaching:detach"),
    Command(
        "history", "Find a question that was sent before", _ANSWERS, "writing:history", "ctrl+r"
    ),
    Command(
        "editor",
        "Write the question in your editor ($EDITOR)",
        _ANSWERS,
        "writing:editor",
        "ctrl+g",
    ),
    Command("previous", "Select the turn above", _TURNS, "turns:previous", "alt+up,ctrl+up"),
    Command("next", "Select the turn below", _TURNS, "turns:next_one", "alt+down,ctrl+down"),
    Command(
        "copy",
        "Copy a turn as it was written; the last answer where none is selected",
        _TURNS,
        "copying:copy",
        "ctrl+y",
        "y",
        "N",
    ),
    Command("code", "Copy a block of code", _TURNS, "copying:code", turn_keys="c", argument="N"),
    Command("thoughts", "Unfold or fold what was thought", _TURNS, "turns:fold", "f8", "space"),
    Command(
        "branch",
        "Go on from the selected turn, beside what followed it",
        _TURNS,
        "turns:branch",
        turn_keys="b",
    ),
    Command(
        "branch-before", "The branch before this one", _TURNS, "turns:branch_before", turn_keys="["
    ),
    Command(
        "branch-after", "The branch after this one", _TURNS, "turns:branch_after", turn_keys="]"
    ),
    Command("new", "Begin a conversation", _CHATS, "chats:new", "ctrl+n"),
    Command("open", "Open a conversation", _CHATS, "chats:open_one", "ctrl+o"),
    Command(
        "search", "Search all conversations", _CHATS, "chats:search", "ctrl+f", argument="WORDS"
    ),
    Command("rename", "Give this conversation a name", _CHATS, "chats:rename", argument="NAME"),
    Command("fork", "Copy this path into a conversation of its own", _CHATS, "chats:fork"),
    Command("delete", "Delete this conversation", _CHATS, "chats:delete"),
    Command(
        "export",
        "Write this conversation to a file: .md for people, .json with every branch",
        _CHATS,
        "files:export",
        argument="FILE",
    ),
    Command(
        "import",
        "Read a conversation that was exported",
        _CHATS,
        "files:import_one",
        argument="FILE",
    ),
    Command("model", "Choose another model", _MODEL, "models:choose", "ctrl+l", argument="NAME"),
    Command(
        "convert",
        "Convert a checkpoint: see its plan, then watch it being made",
        _MODEL,
        "models:convert",
        argument="CKPT",
    ),
    Command("reload", "Load the model again", _MODEL, "models:reload"),
    Command(
        "context",
        "Load the model with another context, where memory allows",
        _MODEL,
        "context:resize",
        argument="N",
    ),
    Command("trim", "Leave the older half out of what is sent", _MODEL, "context:trim"),
    Command(
        "summarize",
        "Let the model sum up the older half, and send that instead",
        _MODEL,
        "context:summarize",
    ),
    Command("untrim", "Send again what was left out", _MODEL, "context:untrim"),
    Command("system", "Change the system prompt", _HOW, "manner:system", argument="TEXT"),
    Command("preset", "Choose a system prompt by name", _HOW, "manner:preset", argument="NAME"),
    Command(
        "set",
        "Temperature and other settings of sampling",
        _HOW,
        "manner:change",
        "f6",
        argument="NAME VALUE",
    ),
    Command(
        "json",
        "Answer in JSON: any object, or what a schema says; again to end that",
        _HOW,
        "manner:json_mode",
        argument="SCHEMA|off",
    ),
    Command("help", "Show every key and command", _VIEW, "view:show_help", "f1"),
    Command("palette", "Find a command by its name", _VIEW, "view:palette", "ctrl+p"),
    Command("panel", "Show or hide the side panel", _VIEW, "view:panel", "f2"),
    Command("theme", "Choose colours: dark, light, the terminal's own", _VIEW, "view:theme", "f7"),
    Command("quit", "Leave; everything is kept", _VIEW, "view:leave", "ctrl+q"),
)

BY_NAME: Mapping[str, Command] = MappingProxyType({one.name: one for one in COMMANDS})
