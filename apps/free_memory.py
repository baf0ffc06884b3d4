"""How much memory a model may take here: what is free, less a reserve for everything else."""

from dataclasses import dataclass

RESERVE_SHARE = 0.10  # of all memory
RESERVE_FLOOR_BYTES = 512 << 20


@dataclass(frozen=True, slots=True)
class FreeMemory:
    """One look at the machine, and what would come back when a loaded model goes."""

    free_bytes: int  # usable now without swapping
    total_bytes: int  # of the machine, or of the container where that is less
    returned_bytes: int = 0  # what the model that is replaced gives back

    @property
    def available_bytes(self) -> int:
        """What is free once the model that is replaced has gone."""
        return min(self.free_bytes + self.returned_bytes, self.total_bytes)

    @property
    def usable_bytes(self) -> int:
        """What is available less the reserve; half of it where little is."""
        reserve_bytes = max(RESERVE_FLOOR_BYTES, int(self.total_bytes * RESERVE_SHARE))
        return max(self.available_bytes - reserve_bytes, self.available_bytes // 2)

    @property
    def budget_bytes(self) -> int:
        """The same rounded down to four bits, so that soon after the same plan is made again."""
        return round_down(self.usable_bytes)


def look_at_memory(returned_bytes: int = 0) -> FreeMemory:
    """Takes some milliseconds."""
    from edgellm.hardware import detect_hardware

    hardware = detect_hardware(gpus=False)
    return FreeMemory(hardware.memory_available_bytes, hardware.memory_total_bytes, returned_bytes)


def round_down(count: int) -> int:
    """The largest number of at most four significant bits that is not above `count`."""
    spare_bits = max(count.bit_length() - 4, 0)
    return count >> spare_bits << spare_bits
