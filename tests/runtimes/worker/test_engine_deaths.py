"""What a caller learns when the engine's process is killed."""

import os
import signal
import sys
from pathlib import Path
from typing import cast

import pytest

from edgellm.errors import RuntimeFailure
from edgellm.runtimes.api.launch import Launch
from edgellm.runtimes.api.model import Model
from edgellm.runtimes.options import LoadOptions
from edgellm.runtimes.worker.connection import WorkerConnection


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_model_tells_what_its_engine_logged_last(tiny_gguf: Path) -> None:
    with Model(Launch(tiny_gguf, LoadOptions(threads=1)).open()) as model:
        worker = cast(WorkerConnection, model._client._connection)
        os.kill(worker.pid, signal.SIGKILL)
        with pytest.raises(RuntimeFailure, match=r"signal 9 \(killed\); .*graph"):
            model.memory()
