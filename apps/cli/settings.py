"""Settings: flags win over EDGELLM_* variables, those over config.toml, that over the defaults."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgellm.errors import FormatError, UsageError

HOME_VARIABLE = "EDGELLM_HOME"
PROGRESS_VARIABLE = "EDGELLM_PROGRESS"  # for programs that run edgellm, not for people
PLANNING_VERBS = ("plan", "convert", "run", "chat", "eval", "demo")
FETCHING_VERBS = ("inspect", "plan", "convert", "run", "chat", "eval")
KEYS = "keys"  # a table: keys of the chat by what they do


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: the option it feeds and the verbs that take it."""

    name: str  # key in config.toml and name of the option
    kind: type
    verbs: tuple[str, ...]
    default: str  # as `edgellm config` shows it

    @property
    def variable(self) -> str:
        return f"EDGELLM_{self.name.upper()}"


SETTINGS = (
    Setting("memory", str, PLANNING_VERBS, "what is free now, less a reserve"),
    Setting("context", int, PLANNING_VERBS, "4096, or less where the model has less"),
    Setting("sensitivity", str, ("plan", "convert"), "noise; static for large models in run"),
    Setting("threads", int, ("convert", "run", "chat", "eval"), "one per physical core"),
    Setting("offline", bool, FETCHING_VERBS, "false"),
    Setting("theme", str, ("chat",), "the one chosen last, at first textual-dark"),
)


def home() -> Path:
    """The folder of the local store, caches included; EDGELLM_HOME moves it."""
    chosen = os.environ.get(HOME_VARIABLE)
    if chosen:
        return Path(chosen)
    from platformdirs import user_data_path

    return user_data_path("edgellm", appauthor=False)


def tells_json() -> bool:
    """Whether progress and notes are JSON lines. Raises UsageError for an unknown way."""
    chosen = os.environ.get(PROGRESS_VARIABLE)
    if chosen not in (None, "", "json"):
        raise UsageError(f"{PROGRESS_VARIABLE} is {chosen!r}; expected json, or nothing")
    return chosen == "json"


def config_file() -> Path:
    """Where config.toml is read from; EDGELLM_HOME holds it where that is set."""
    if os.environ.get(HOME_VARIABLE):
        return home() / "config.toml"
    from platformdirs import user_config_path

    return user_config_path("edgellm", appauthor=False) / "config.toml"


def read_config() -> dict[str, Any]:
    """The values of config.toml, checked; empty when there is no such file.

    Raises FormatError for broken TOML, an unknown key or a value of the wrong type.
    """
    path = config_file()
    if not path.is_file():
        return {}
    import tomllib

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise FormatError(path, f"not readable as TOML: {error}") from error
    known = {setting.name: setting.kind for setting in SETTINGS} | {KEYS: dict}
    for name, value in values.items():
        if name not in known:
            raise FormatError(path, f"unknown key {name!r}; known: {', '.join(known)}")
        if type(value) is not known[name]:
            expected = "a table" if name == KEYS else known[name].__name__
            raise FormatError(path, f"{name} is {value!r}; expected {expected}")
    for name, value in values.get(KEYS, {}).items():
        if not isinstance(value, str):
            raise FormatError(path, f'{KEYS}.{name} is {value!r}; expected text, such as "ctrl+r"')
    return values


def chat_keys() -> dict[str, str]:
    """The keys that config.toml gives to what the chat can do. Raises FormatError."""
    keys: dict[str, str] = read_config().get(KEYS, {})
    return keys


def setting_value(name: str) -> Any:
    """What a variable or config.toml sets; None where neither does. Raises FormatError."""
    (setting,) = (setting for setting in SETTINGS if setting.name == name)
    return os.environ.get(setting.variable) or read_config().get(name)


def option_defaults() -> dict[str, dict[str, Any]]:
    """The values of config.toml by verb, in the form the command line parser takes."""
    values = read_config()
    by_verb: dict[str, dict[str, Any]] = {}
    for setting in SETTINGS:
        for verb in setting.verbs if setting.name in values else ():
            by_verb.setdefault(verb, {})[setting.name] = values[setting.name]
    return by_verb
