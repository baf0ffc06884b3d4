"""Whether a model fits this machine now, in the place of the one that is loaded."""

from dataclasses import dataclass
from enum import Enum

from edgellm.apps.chat.choosing.offers import Offer
from edgellm.apps.free_memory import FreeMemory
from edgellm.apps.launching import LoadSettings
from edgellm.events import MemoryUse
from edgellm.units import format_bytes, parse_size


class Fit(Enum):
    """How a model's needs compare with the memory there is, or with what this chat was told."""

    FITS = "beside everything that is in memory now"
    INSTEAD = "only once the loaded model has gone"
    SHORT = "not even then"
    UNKNOWN = "nobody has planned it"
    BARRED = "a load would refuse it"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of one model."""

    fit: Fit
    short_bytes: int = 0  # what is missing
    is_least: bool = False  # more may be missing: only a part of the needs is known
    option: str = ""  # of the command line, that bars it
    reason: str = ""  # why, where it is barred


def judge(offer: Offer, memory: FreeMemory, settings: LoadSettings) -> Verdict:
    """Judge one model. settings: of the load that would follow."""
    barred = _barred(offer, settings)
    if barred is not None:
        return barred
    least_bytes = offer.needed_bytes or offer.file_bytes or 0  # weights alone may be too much
    short_bytes = least_bytes - memory.usable_bytes
    if short_bytes > 0:
        return Verdict(Fit.SHORT, short_bytes, is_least=offer.needed_bytes is None)
    if offer.needed_bytes is None:
        return Verdict(Fit.UNKNOWN)
    beside = FreeMemory(memory.free_bytes, memory.total_bytes)
    return Verdict(Fit.FITS if least_bytes <= beside.usable_bytes else Fit.INSTEAD)


def _barred(offer: Offer, settings: LoadSettings) -> Verdict | None:
    allowed_bytes, context = allowed_memory(settings), settings.get("context")
    # What a file without a plan takes beside its weights is only estimated, and loading finds out.
    sure_bytes = offer.needed_bytes if offer.planned_context else offer.file_bytes
    if allowed_bytes is not None and sure_bytes is not None and sure_bytes > allowed_bytes:
        needed, allowed = format_bytes(sure_bytes), format_bytes(allowed_bytes)
        reason = f"{offer.name} needs {needed}; this chat may take {allowed}, by --memory"
        return Verdict(Fit.BARRED, option="--memory", reason=reason)
    if context is not None and offer.planned_context and context > offer.planned_context:
        reason = (
            f"{offer.name} was planned for {offer.planned_context:,} tokens; this chat asks for "
            f"{context:,}, by --context"
        )
        return Verdict(Fit.BARRED, option="--context", reason=reason)
    return None


def allowed_memory(settings: LoadSettings) -> int | None:
    """Bytes that a model may take in this chat; None where nobody has said."""
    memory = settings.get("memory")
    return parse_size(memory) if isinstance(memory, str) else memory


def given_back(use: MemoryUse | None, settings: LoadSettings) -> int:
    """Bytes that become free when a loaded model goes; 0 where none is loaded.

    use: what it was measured to take. settings: those it was loaded with. A mapped file's pages
    count as free already.
    """
    if use is None:
        return 0
    if settings.get("weights") == "mapped":
        return max(use.resident_bytes - use.weights_bytes, 0)
    return use.resident_bytes
