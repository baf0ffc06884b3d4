"""huggingface_hub's progress bars as edgellm's progress events."""

from threading import Lock
from typing import Any

from huggingface_hub.utils.tqdm import tqdm

from edgellm.progress import Progress, ProgressSink


def bar_class(item: str, progress: ProgressSink) -> type[tqdm]:
    """A kind of bar that draws nothing and reports to `progress`, one call at a time.

    huggingface_hub keeps several bars: files, bytes received, bytes written. The byte bars tell
    the same story at different moments; the one that is ahead is reported.
    """
    lock = Lock()
    done_bytes = total_bytes = 0

    class ReportingBar(tqdm):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            super().__init__(*args, **{**kwargs, "disable": True})  # type: ignore[no-untyped-call]
            self.n = kwargs.get("initial", 0)
            self.counts_bytes = kwargs.get("unit") == "B"

        def update(self, n: float | None = 1) -> None:
            nonlocal done_bytes, total_bytes
            with lock:
                self.n += n or 0
                if self.counts_bytes:
                    done_bytes = max(done_bytes, int(self.n))
                    total_bytes = max(total_bytes, done_bytes, int(self.total or 0))
                    progress(Progress("download", done_bytes, total_bytes, item))

    return ReportingBar
