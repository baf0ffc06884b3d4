"""A Windows job for one worker: bounds its memory, ends it with its parent, keeps crashes quiet."""

import ctypes
import sys
from contextlib import suppress

from edgellm.closing import Closing

_EXTENDED_LIMITS = 9  # JobObjectExtendedLimitInformation
_PROCESS_MEMORY = 0x100
_DIE_ON_UNHANDLED_EXCEPTION = 0x400  # no window that waits for a click
_KILL_ON_JOB_CLOSE = 0x2000  # also when the parent dies, whose handles the system closes


class BasicLimits(ctypes.Structure):
    """JOBOBJECT_BASIC_LIMIT_INFORMATION."""

    _fields_ = (
        ("per_process_user_time_limit", ctypes.c_int64),
        ("per_job_user_time_limit", ctypes.c_int64),
        ("limit_flags", ctypes.c_uint32),
        ("minimum_working_set_size", ctypes.c_size_t),
        ("maximum_working_set_size", ctypes.c_size_t),
        ("active_process_limit", ctypes.c_uint32),
        ("affinity", ctypes.c_size_t),
        ("priority_class", ctypes.c_uint32),
        ("scheduling_class", ctypes.c_uint32),
    )


class ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION."""

    _fields_ = (
        ("basic", BasicLimits),
        ("io_counters", ctypes.c_uint64 * 6),
        ("process_memory_limit", ctypes.c_size_t),  # bytes of private memory
        ("job_memory_limit", ctypes.c_size_t),
        ("peak_process_memory_used", ctypes.c_size_t),
        ("peak_job_memory_used", ctypes.c_size_t),
    )


def limits(memory_limit_bytes: int | None) -> ExtendedLimits:
    """What the job asks of the system."""
    wanted = ExtendedLimits()
    wanted.basic.limit_flags = _DIE_ON_UNHANDLED_EXCEPTION | _KILL_ON_JOB_CLOSE
    if memory_limit_bytes:
        wanted.basic.limit_flags |= _PROCESS_MEMORY
        wanted.process_memory_limit = memory_limit_bytes
    return wanted


if sys.platform == "win32":

    class Job(Closing):
        """Owns the job's handle; closing it ends what still runs in the job."""

        def __init__(self, process_handle: int, memory_limit_bytes: int | None) -> None:
            """Where the system refuses, the worker runs without: it still ends with its stdin."""
            self._kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
            self._kernel32.CreateJobObjectW.restype = ctypes.c_void_p
            self._handle = self._kernel32.CreateJobObjectW(None, None)
            with suppress(OSError):
                self._apply(limits(memory_limit_bytes))
                self._assign(process_handle)

        def close(self) -> None:
            handle, self._handle = self._handle, None
            if handle:
                self._kernel32.CloseHandle(ctypes.c_void_p(handle))

        def _apply(self, wanted: ExtendedLimits) -> None:
            done = self._kernel32.SetInformationJobObject(
                ctypes.c_void_p(self._handle),
                _EXTENDED_LIMITS,
                ctypes.byref(wanted),
                ctypes.sizeof(wanted),
            )
            if not done:
                raise ctypes.WinError(ctypes.get_last_error())

        def _assign(self, process_handle: int) -> None:
            handles = ctypes.c_void_p(self._handle), ctypes.c_void_p(process_handle)
            if not self._kernel32.AssignProcessToJobObject(*handles):
                raise ctypes.WinError(ctypes.get_last_error())
