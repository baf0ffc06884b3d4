"""`edgellm.load`: from a model's name to the model in memory, within a budget."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Unpack

from edgellm.apps.child_runs import run_child
from edgellm.apps.cli.planning import PlanningOptions
from edgellm.apps.cli.settings import home
from edgellm.apps.finding import Finder
from edgellm.apps.launching import AUTO, LoadSettings, launch, load_options, say_nothing
from edgellm.errors import Cancelled, UsageError
from edgellm.progress import Progress, ProgressSink, ignore_progress
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.api.model import AsyncModel, Model
from edgellm.runtimes.cancel import CancelToken
from edgellm.runtimes.protocol import EventSink, ignore_events
from edgellm.store import Store
from edgellm.units import exact_size


def load(
    model: str | Path,
    *,
    on_event: EventSink = ignore_events,
    cancel: CancelToken | None = None,
    **settings: Unpack[LoadSettings],
) -> Model:
    """Load a model, in a process of its own, ready to answer.

        with edgellm.load("novelist-7m", memory="200MiB") as model:
            chat = model.chat("You tell stories.")
            for event in chat.send("Where was the old letter?"):
                if isinstance(event, TextDelta):
                    print(event.text, end="", flush=True)

    model: an artifact's folder, a stored name, a GGUF file, a checkpoint's folder or a Hub name;
    the last two are converted on first use and kept. settings: see LoadSettings. on_event: hears
    load.progress and engine.fallback, on this thread. cancel: stops the load, as Ctrl-C does.

    Raises BudgetError (needed_bytes, parts) before anything is loaded where that is known,
    InputError, UsageError, Cancelled, RuntimeFailure.
    """
    launch = prepare(str(model), settings, cancel or CancelToken())
    return Model(launch.open(on_event, cancel))


async def load_async(
    model: str | Path,
    *,
    on_event: EventSink = ignore_events,
    cancel: CancelToken | None = None,
    **settings: Unpack[LoadSettings],
) -> AsyncModel:
    """`load` for asyncio; cancelling the task stops it."""
    import asyncio

    cancel = cancel or CancelToken()
    try:
        launch = await asyncio.to_thread(prepare, str(model), settings, cancel)
    except asyncio.CancelledError:
        cancel.cancel()
        raise
    return AsyncModel(await launch.open_async(on_event, cancel))


def prepare(model: str, settings: LoadSettings, cancel: CancelToken) -> Launch:
    """Find the model, convert it where that is needed, and check the budget; loads nothing."""
    if unknown := settings.keys() - LoadSettings.__annotations__.keys():
        known = ", ".join(LoadSettings.__annotations__)
        raise UsageError(f"no setting {min(unknown)!r} of a load; known: {known}")
    engine = settings.get("runtime", AUTO)
    if not isinstance(engine, str):  # it alone knows what it loads
        return Launch(
            Path(model),
            load_options(None, settings),
            engine,
            isolation=settings.get("isolation", "process"),
        )
    store = Store(home())
    quiet = _Quiet(settings.get("progress", ignore_progress), cancel)
    finder = Finder(store, settings.get("offline", False), say_nothing, quiet.progress, quiet.run)
    planning = PlanningOptions(memory=_size_text(settings), context=settings.get("context"))
    found = finder.find(model, planning, settings.get("threads"), settings.get("speculate"))
    return launch(found, settings, store)


def _size_text(settings: LoadSettings) -> str | None:
    memory = settings.get("memory")
    return exact_size(memory) if isinstance(memory, int) else memory


class _Quiet:
    """Finds and converts; a cancel ends a conversion at once, the rest between two pieces."""

    def __init__(self, progress: ProgressSink, cancel: CancelToken) -> None:
        self._progress = progress
        self._cancel = cancel

    @contextmanager
    def progress(self) -> Iterator[ProgressSink]:
        yield self._report

    def run(self, arguments: list[str]) -> None:
        """Run edgellm; what it would tell a person becomes progress, or the error raised."""
        run_child(arguments, progress=self._report, note=say_nothing, cancel=self._cancel)

    def _report(self, progress: Progress) -> None:
        if self._cancel.cancelled:
            raise Cancelled(f"cancelled during: {progress.phase}")
        self._progress(progress)
