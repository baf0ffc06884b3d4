"""What the system allows a worker."""

import ctypes
import sys
from pathlib import Path

import pytest

from edgellm.errors import RuntimeFailure
from edgellm.runtimes.worker.windows_job import ExtendedLimits, limits
from tests.support.calls import Answer, worker

MIB = 1 << 20
LIMIT_BYTES = 64 * MIB
TOO_MUCH_BYTES = 2048 * MIB  # no count of threads makes the allowance for stacks this large


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can refuse private memory")
def test_memory_beyond_the_limit_is_refused_and_the_worker_lives() -> None:
    with worker(memory_limit_bytes=LIMIT_BYTES) as connection:
        with pytest.raises(RuntimeFailure, match=r"^toy: there is not enough memory"):
            Answer(connection, "allocate", b"%d" % TOO_MUCH_BYTES).result()
        few = b"%d" % (32 * MIB)
        assert Answer(connection, "allocate", few).result() == few


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can refuse private memory")
def test_a_mapped_file_does_not_count(tmp_path: Path) -> None:
    weights = tmp_path / "weights"
    with weights.open("wb") as file:
        file.truncate(TOO_MUCH_BYTES)
    with worker(memory_limit_bytes=LIMIT_BYTES) as connection:
        mapped = Answer(connection, "map_file", bytes(weights)).result()
    assert mapped == b"%d" % TOO_MUCH_BYTES


def test_without_a_limit_nothing_is_refused() -> None:
    many = b"%d" % (256 * MIB)
    with worker() as connection:
        assert Answer(connection, "allocate", many).result() == many


@pytest.mark.skipif(ctypes.sizeof(ctypes.c_void_p) != 8, reason="sizes of 64-bit Windows")
def test_the_windows_structure_is_as_large_as_the_systems_own() -> None:
    assert ctypes.sizeof(ExtendedLimits) == 144  # sizeof JOBOBJECT_EXTENDED_LIMIT_INFORMATION
    assert ExtendedLimits.process_memory_limit.offset == 112


def test_a_windows_job_ends_with_its_parent_and_bounds_memory_only_where_asked() -> None:
    assert limits(None).basic.limit_flags == 0x2400
    bounded = limits(7 << 30)
    assert bounded.basic.limit_flags == 0x2500
    assert bounded.process_memory_limit == 7 << 30
