"""What has been measured of cache formats so far, and the file that keeps it."""

from dataclasses import dataclass, field
from pathlib import Path

from edgellm.errors import InputError
from edgellm.files import keep_json
from edgellm.json_file import read_json
from edgellm.jsonfields import JsonObject

_MAX_BYTES = 1 << 20


@dataclass(slots=True)
class Divergences:
    """Grows pair by pair; the same windows always give the same figures."""

    tokens: int = 0  # of a window; 0 before anything was found
    positions: int = 0  # whose predictions were compared, over all windows
    nats: dict[tuple[str, str], float] = field(default_factory=dict)  # by formats of K and V


@dataclass(frozen=True, slots=True)
class DivergenceFile:
    """One JSON file, replaced whole; a damaged one counts as absent."""

    path: Path

    def read(self) -> Divergences:
        """What an earlier measurement left, or nothing."""
        try:
            top = JsonObject.at(str(self.path), "", read_json(self.path, _MAX_BYTES))
            named = JsonObject.at(str(self.path), "nats", top.values.get("nats"))
            nats = {_names(name): named.number(name) for name in named.values}
            return Divergences(top.integer("tokens", 1), top.integer("positions", 1), nats)
        except (InputError, ValueError):
            return Divergences()

    def write(self, found: Divergences) -> None:
        """Raises OutputError."""
        nats = {"/".join(names): value for names, value in found.nats.items()}
        document = {"tokens": found.tokens, "positions": found.positions, "nats": nats}
        keep_json(self.path, document)


def _names(pair: str) -> tuple[str, str]:
    """Raises ValueError for anything but two names."""
    key, value = pair.split("/")
    return key, value
