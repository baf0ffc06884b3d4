"""What the chat begins with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgellm.apps.launching import LoadSettings  # what it imports is not there at first


@dataclass(frozen=True, slots=True)
class Start:
    """Everything that was said on the command line and in config.toml."""

    folder: Path  # of the conversations
    model: str | None = None  # None: the last one
    load: "LoadSettings" = field(default_factory=dict)  # type: ignore[assignment]
    system: str | None = None
    resume: bool = False  # go on with the newest conversation
    theme: str | None = None  # None: the one that was chosen last
    keys: Mapping[str, str] = field(default_factory=dict)  # what [keys] of config.toml says
    config: Path = Path("config.toml")  # for errors
