"""Figures as people read them: short, and as wide as they have to be. Pure."""

import signal

from disbatch.core.model import LOST
from disbatch.monitor.progress import clock

_BLOCKS = " ▁▂▃▄▅▆▇█"


def count(number: int) -> str:
    return f"{number:,}"


def rate(per_s: float) -> str:
    """Tasks per second; per minute or hour where that says more."""
    if per_s >= 10:
        return f"{per_s:,.0f}/s"
    if per_s >= 0.5 or per_s == 0:
        return f"{per_s:.1f}/s"
    if per_s * 60 >= 0.5:
        return f"{per_s * 60:.1f}/min"
    return f"{per_s * 3600:.1f}/h"


def ago(seconds: float | None) -> str:
    """How long ago, in one unit; a dash for never."""
    if seconds is None:
        return "–"
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"


def gib(kib: int) -> str:
    size = kib / (1 << 20)
    return f"{size:.1f}" if size < 10 else f"{size:.0f}"


def memory(used_kib: int | None, total_kib: int | None) -> str:
    """Used and total, in GiB."""
    if used_kib is None or total_kib is None:
        return "–"
    return f"{gib(used_kib)}/{gib(total_kib)}G"


def load(value: float | None, cpus: int | None) -> str:
    """The load of a node, against its processors."""
    if value is None:
        return "–"
    return f"{value:.1f}/{cpus}" if cpus else f"{value:.1f}"


def exit_word(returncode: int) -> str:
    """An exit code, the name of a signal, or why there is neither."""
    if returncode == LOST:
        return "lost"
    if returncode >= 0:
        return str(returncode)
    try:
        return signal.Signals(-returncode).name
    except ValueError:
        return f"signal {-returncode}"


def duration(seconds: float) -> str:
    return f"{seconds:.1f}s" if seconds < 10 else f"{seconds:.0f}s" if seconds < 60 else clock(seconds)


def bars(values: list[float], height: int = 1) -> list[str]:
    """Columns as high as their values are against the highest, as so many lines; the lowest is a thin one."""
    top = max(values, default=0.0)
    steps = len(_BLOCKS) - 1
    levels = [max(1, round(value / top * steps * height)) if top > 0 else 1 for value in values]
    return [
        "".join(_BLOCKS[min(steps, max(0, level - steps * row))] for level in levels)
        for row in reversed(range(height))
    ]
