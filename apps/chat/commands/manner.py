"""How conversations are answered: system prompts, sampling, JSON."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.text import Text

from edgellm.apps.chat.answering.settings import ANY_JSON, ASK, WHEN_FULL, Settings
from edgellm.apps.chat.conversations import remembered
from edgellm.apps.chat.conversations.records import Preset
from edgellm.apps.chat.dialogs.picker import Choice, Picker
from edgellm.apps.chat.dialogs.writing import LineDialog, TextDialog
from edgellm.apps.chat.presets import BUILT_IN
from edgellm.apps.cli.answer import read_option_file
from edgellm.apps.terminal_text import one_line
from edgellm.errors import UsageError

if TYPE_CHECKING:
    from edgellm.apps.chat.screen import ChatScreen

_SAVE, _FORGET = "\0save", "\0forget"  # no names of presets


async def system(chat: "ChatScreen", argument: str) -> None:
    """Change the system prompt of this conversation."""
    text = argument or await chat.ask(
        TextDialog(
            "System prompt",
            chat.desk.conversation.system,
            "What the model is told before the conversation; empty for nothing. "
            "/preset keeps it under a name.",
        )
    )
    if text is not None:
        await _tell_system(chat, text.strip())


async def preset(chat: "ChatScreen", argument: str) -> None:
    """Take a system prompt by its name, keep the present one, or forget one."""
    own = await chat.desk.archive.do(remembered.list_presets)
    texts = {one.name: one.text for one in (*BUILT_IN, *own)}
    chosen = argument or await chat.ask(
        Picker("System prompts", _rows(chat, texts, [one.name for one in own]))
    )
    if chosen == _SAVE:
        await _save(chat)
    elif chosen is not None and chosen.startswith(_FORGET):
        await chat.desk.archive.do(remembered.delete_preset, chosen.removeprefix(_FORGET))
        chat.tell("Forgotten.")
    elif chosen is not None:
        if chosen not in texts:
            raise UsageError(f"no preset {chosen!r}; known: {', '.join(texts)}")
        await _tell_system(chat, texts[chosen])


async def change(chat: "ChatScreen", argument: str) -> None:
    """Change one setting by name and value, or several in a form."""
    if argument:
        name, _, value = argument.replace("=", " ", 1).partition(" ")
        settings = chat.desk.settings.changed(name, value)
        if not value.strip():
            chat.tell(_present(chat, name.replace("-", "_").lower()))
            return
    else:
        from edgellm.apps.chat.dialogs.settings import SettingsDialog

        chosen = await chat.ask(SettingsDialog(chat.desk.settings, _defaults(chat)))
        if chosen is None:
            return
        settings = chosen
    await chat.desk.change(settings=settings)
    chat.tell(described(settings))
    chat.showing.refresh()


async def json_mode(chat: "ChatScreen", argument: str) -> None:
    """Any JSON object, or what a schema (its text or a file) says; off, or again, ends it."""
    settings = chat.desk.settings
    if argument.lower() == "off" or (not argument and settings.json_schema):
        changed = settings.changed("json_schema", "")
        said = "Answers are free again."
    else:
        schema = argument or ANY_JSON
        if not schema.startswith("{"):
            schema = read_option_file(Path(schema).expanduser()) or ""
        changed = settings.changed("json_schema", schema)
        said = "Answers will be JSON objects." if not argument else "Answers will fit the schema."
    await chat.desk.change(settings=changed)
    chat.tell(said)
    chat.showing.refresh()


def described(settings: Settings) -> str:
    """What was set, in a line."""
    parts = [
        f"{name} {value}" for name, value in settings.to_json().items() if name != "json_schema"
    ]
    if settings.json_schema:
        parts.append("JSON")
    return ", ".join(parts) or "Everything is the model's own choice."


def _present(chat: "ChatScreen", name: str) -> str:
    """A setting as it is now."""
    settings = chat.desk.settings
    if name == "when_full":
        return f"when_full is {settings.when_full}; it may be {' or '.join(WHEN_FULL)}"
    value = settings.to_json().get(name)
    if value is None:
        return f"{name} is the model's own choice; /set {name} VALUE changes it"
    return f"{name} is {value}; /set {name} auto gives it back to the model"


async def _tell_system(chat: "ChatScreen", text: str) -> None:
    await chat.desk.change(system=text)
    chat.tell("The system prompt is gone." if not text else f"System prompt: {one_line(text)[:80]}")
    chat.showing.refresh()


async def _save(chat: "ChatScreen") -> None:
    text = chat.desk.conversation.system
    if not text:
        raise UsageError("there is no system prompt to keep; /system writes one")
    name = await chat.ask(LineDialog("Name of this system prompt"))
    if name and name.strip():
        await chat.desk.archive.do(remembered.save_preset, Preset(one_line(name), text))
        chat.tell(f"Kept as “{one_line(name)}”.")


def _rows(chat: "ChatScreen", texts: dict[str, str], own: list[str]) -> list[Choice[str]]:
    rows = [
        Choice(name, Text(name, "bold").append(f"  {one_line(text)[:200]}", "not bold dim"))
        for name, text in texts.items()
    ]
    for row in rows:
        row.row.no_wrap, row.row.overflow = True, "ellipsis"
    if chat.desk.conversation.system:
        rows.append(Choice(_SAVE, Text("Keep the present system prompt under a name …", "italic")))
    rows += [Choice(_FORGET + name, Text(f"Forget “{name}”", "dim italic")) for name in own]
    return rows


def _defaults(chat: "ChatScreen") -> dict[str, str]:
    """The model's own choices, to show in an empty field."""
    if not chat.engine.is_ready:
        return {}
    sampling = chat.engine.model.info.default_sampling
    names = ("temperature", "top_k", "top_p", "min_p", "repeat_penalty")
    return {"when_full": ASK, **{name: f"{getattr(sampling, name):g}" for name in names}}
