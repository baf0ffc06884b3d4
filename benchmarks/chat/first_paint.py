"""From the command to the first paint: `python -m benchmarks.chat.first_paint`.

`edgellm chat` with the bundled model's artifact in a terminal of 100x30, 20 times after one to warm
up. Medians of the time from the start of the process until: the first frame is drawn; the app
itself has painted; a key that is typed then is echoed; the model is loaded behind it. Beside them
what a bare `python -c pass` takes, and one that only imports Textual.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.chat.screens import Screen
from benchmarks.report import write_result
from benchmarks.worker.opening import prepare_model
from edgellm.children import child_command

ROUNDS = 20
# The cursor stands on the first letter of the prompt's placeholder, which is drawn apart.
FRAME, PAINTED, LOADED = b"starting", b"rite here", b"ctx 0/"


def one_start(home: Path, artifact: Path) -> dict[str, float]:
    """Milliseconds of one start."""
    command = child_command("edgellm", "chat", str(artifact), "--threads", "1")
    with Screen(command, {"EDGELLM_HOME": str(home)}) as screen:
        frame_s = screen.wait_for(FRAME)
        painted_s = screen.wait_for(PAINTED)
        seen = len(screen.drawn)
        screen.press("Q")
        echoed_s = screen.wait_for(b"Q", start=seen)
        loaded_s = screen.wait_for(LOADED)
        screen.press("\x11")
        screen.process.wait(20)
    return {
        "first_frame_ms": 1000 * frame_s,
        "app_painted_ms": 1000 * painted_s,
        "key_echoed_ms": 1000 * echoed_s,
        "model_loaded_ms": 1000 * loaded_s,
    }


def bare(name: str, program: str) -> dict[str, float]:
    began_s = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return {name: 1000 * (time.perf_counter() - began_s)}


def main() -> None:
    samples: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        artifact, home = prepare_model(Path(folder)), Path(folder) / "home"
        for number in range(1 + ROUNDS):
            found = one_start(home, artifact)
            found |= bare("python_ms", "pass")
            found |= bare("textual_imported_ms", "import textual.app, textual.widgets")
            for name, value in found.items():
                samples.setdefault(name, []).extend([value] if number else [])
    figures = {name: round(statistics.median(values), 1) for name, values in samples.items()}
    figures["slowest_first_frame_ms"] = round(max(samples["first_frame_ms"]), 1)
    print(*(f"{name}: {value}" for name, value in figures.items()), sep="\n")
    print(write_result("chat_first_paint", {"rounds": ROUNDS, **figures}))


if __name__ == "__main__":
    main()
