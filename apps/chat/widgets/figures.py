"""Numbers as people read them in a narrow place."""

from edgellm.units import format_bytes


def bar(share: float, cells: int) -> str:
    """A bar of so many cells; share: 0 to 1. What is more than nothing shows."""
    share = min(max(share, 0.0), 1.0)
    full = max(round(share * cells), 1 if share > 0 else 0)
    return "━" * full + "─" * (cells - full)


def count(number: int) -> str:
    return f"{number:,}"


def counted(number: int, what: str) -> str:
    """A number with what it counts: "1 token", "1,200 tokens"."""
    return f"{count(number)} {what}" if number == 1 else f"{count(number)} {what}s"


def rate(tokens_per_s: float) -> str:
    """Tokens per second with three figures at most."""
    return f"{tokens_per_s:.0f}" if tokens_per_s >= 100 else f"{tokens_per_s:.1f}"


def duration(seconds: float) -> str:
    """A time as short as it may be: 0.31 s, 4.2 s, 48 s, 3 min, 2 h 05."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60:02}"


def memory(count_bytes: int) -> str:
    """Bytes with three figures at most."""
    amount, _, unit = format_bytes(count_bytes).partition(" ")
    number = float(amount)
    return f"{number:.0f} {unit}" if number >= 100 or unit == "B" else f"{number:.1f} {unit}"


def used(count_bytes: int, planned_bytes: int | None) -> str:
    """Bytes of those that were planned, in the unit of the plan: 46/57 MiB."""
    if planned_bytes is None:
        return memory(count_bytes)
    unit_bytes, unit = (1 << 30, "GiB") if planned_bytes >= 10 << 30 else (1 << 20, "MiB")
    return f"{count_bytes / unit_bytes:.0f}/{planned_bytes / unit_bytes:.0f} {unit}"


def share(part: int, whole: int) -> str:
    return f"{100 * part // whole} %" if whole else "0 %"
