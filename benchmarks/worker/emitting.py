"""A service that does nothing but send."""

import json
import time
from collections.abc import Callable

from edgellm.runtimes.cancel import CancelToken

SPARE_BYTES = 40  # what a token's event takes beside its time


class Emitting:
    """Sends items as fast as it can, or one every so often; each holds its time of sending."""

    def call(
        self, method: str, body: bytes, emit: Callable[[bytes], None], cancel: CancelToken
    ) -> bytes:
        """body: [items, seconds between two]. Returns the CPU seconds of this process."""
        items, pause_s = json.loads(body)
        began = time.process_time()
        for _ in range(items):
            if pause_s:
                time.sleep(pause_s)
            emit(time.monotonic_ns().to_bytes(8, "little") + bytes(SPARE_BYTES))
        return json.dumps(time.process_time() - began).encode()

    def close(self) -> None:
        """Holds nothing."""
