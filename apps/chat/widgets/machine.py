"""What the machine says of itself now: free memory and, where it tells, its temperature."""

from collections.abc import Iterable
from dataclasses import dataclass

# Sensors of a processor, best first; others are of disks, batteries and boards.
_PROCESSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal")
_OTHERS = ("acpitz", "thinkpad")


@dataclass(frozen=True, slots=True)
class Machine:
    """One look at the machine."""

    free_bytes: int  # usable now without swapping
    total_bytes: int
    celsius: float | None = None  # of the processor, where it can be read


def look_at_machine() -> Machine:
    """Takes some milliseconds, so call it beside the event loop."""
    from edgellm.hardware import detect_hardware

    hardware = detect_hardware(gpus=False)
    return Machine(
        hardware.memory_available_bytes, hardware.memory_total_bytes, processor_celsius()
    )


def processor_celsius() -> float | None:
    """The hottest sensor of the processor; None where the system tells nobody."""
    import psutil

    read = getattr(psutil, "sensors_temperatures", None)  # not on macOS and Windows
    try:
        sensors = read() if read is not None else {}
    except (OSError, ValueError):  # some kernels list sensors that cannot be read
        return None
    for name in (*_PROCESSORS, *_OTHERS):
        if name in sensors and (found := _hottest(reading.current for reading in sensors[name])):
            return found
    return None


def _hottest(readings: Iterable[float]) -> float | None:
    return max((celsius for celsius in readings if 0 < celsius < 150), default=None)
