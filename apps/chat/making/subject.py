"""A checkpoint that lies on this machine, as far as its headers tell."""

from contextlib import nullcontext
from dataclasses import dataclass

from edgellm.apps.cli.durations import rough_duration
from edgellm.apps.cli.planning import DEFAULT_MODE, STATIC, default_context
from edgellm.apps.cli.settings import setting_value
from edgellm.apps.finding import Finder, first_use_mode, store_name
from edgellm.converters.threads import thread_count
from edgellm.progress import ProgressSink, ignore_progress
from edgellm.store import Store

_F16_BYTES = 2


@dataclass(frozen=True, slots=True)
class Subject:
    """What may be converted."""

    name: str  # that the store would give the model
    family: str
    parameters: int
    file_bytes: int  # of all that decides the result
    context: int  # tokens, planned for where nobody asks for more
    longest_context: int
    duration: str  # of measuring it, roughly: "3 min"

    @property
    def reference_bytes(self) -> int:
        """Of the whole model in f16, which measuring runs again and again."""
        return _F16_BYTES * self.parameters


def look_at_checkpoint(reference: str, store: Store, threads: int | None) -> Subject:
    """Read headers; nothing is fetched. Raises InputError."""
    from edgellm.families import read_spec

    checkpoint = _offline_finder(store).open_checkpoint(reference)
    spec = read_spec(checkpoint)
    return Subject(
        name=store_name(spec.name),
        family=spec.family,
        parameters=spec.parameters,
        file_bytes=sum(path.stat().st_size for path in checkpoint.files),
        context=default_context(spec),
        longest_context=spec.context_length,
        duration=rough_duration(spec, thread_count(threads)),
    )


def default_mode(subject: Subject | None) -> str:
    """How it is judged where nobody has said; measuring is for small models. Raises FormatError."""
    chosen = setting_value("sensitivity")
    if chosen is not None:
        return str(chosen)
    return STATIC if subject is None else first_use_mode(subject.file_bytes)


def modes() -> tuple[str, ...]:
    """The ways to judge that are offered, the one of the settings among them."""
    return tuple(dict.fromkeys((STATIC, DEFAULT_MODE, default_mode(None))))


def _offline_finder(store: Store) -> Finder:
    return Finder(store, True, _ignore, _no_progress, _refuse)


def _ignore(text: str) -> None:
    """Looking says nothing."""


def _no_progress() -> nullcontext[ProgressSink]:
    return nullcontext(ignore_progress)


def _refuse(arguments: list[str]) -> None:
    raise AssertionError("looking converts nothing")
