"""How a report writes numbers: spans of time, sizes, shares, moments."""

import time

from disbatch.core.plural import noun


def span(seconds: float) -> str:
    """A duration with as many digits as a person reads: `0 ms`, `12 ms`, `1.23 s`, `45.6 s`, `4:10`, `1:02:03`, `3 d 01:02:03`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 59.95:
        return f"{seconds:.2f} s" if seconds < 9.995 else f"{seconds:.1f} s"
    whole = int(seconds + 0.5)
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if days:
        return f"{days} d {hours:02d}:{minutes:02d}:{whole % 60:02d}"
    return f"{hours}:{minutes:02d}:{whole % 60:02d}" if hours else f"{minutes}:{whole % 60:02d}"


def core_hours(core_seconds: float) -> str:
    """Core hours, small ones with enough digits to tell them apart."""
    hours = core_seconds / 3600
    if hours >= 100:
        return f"{hours:,.0f}"
    return f"{hours:.1f}" if hours >= 10 else f"{hours:.2f}" if hours >= 0.095 else f"{hours:.4f}"


def size(count: float) -> str:
    """Bytes: `999 B`, `1.5 KiB`, `12 MiB`."""
    unit = "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if count < 1000 or unit == "TiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" or count >= 9.95 else f"{count:.1f} {unit}"


def bounded(peak_kib: int, vague_kib: int, times: int = 1) -> str:
    """A size that may be less where it is among those that are only bounds; all of it so many times."""
    return ("<= " if peak_kib <= vague_kib else "") + size(1024 * peak_kib * times)


def share(part: float) -> str:
    """A part of one in per cent; one decimal where it says something."""
    percent = part * 100
    return f"{percent:.0f} %" if percent >= 9.95 or percent == 0 else f"{percent:.1f} %"


def count(number: int, what: str, plural: str = "") -> str:
    """`1 task`, `1,234 tasks`."""
    return f"{number:,} {noun(number, what, plural)}"


def moment(epoch_s: float) -> str:
    """Date and time here."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(epoch_s))


def period(begin_s: float, end_s: float) -> str:
    """From when until when; the date once where it is the same."""
    begin, end = moment(begin_s), moment(end_s)
    return f"{begin} to {end[11:] if begin[:10] == end[:10] else end}"
