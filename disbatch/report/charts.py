"""What the charts of the page are drawn from: lists and packed numbers that go to JSON as they are. Pure.

Time on the page begins at 0 with the first run; the runs of a chain stand side by side, as what lies between is nobody's.
"""

import math
from array import array
from base64 import b64encode
from collections.abc import Callable, Sequence
from itertools import chain, pairwise
from sys import byteorder
from typing import Any

from disbatch.core.printable import printable
from disbatch.report.figures import EFFICIENCY_FROM_S
from disbatch.report.model import Report
from disbatch.report.rows import Rows
from disbatch.report.slots import busy_curve
from disbatch.report.times import RunTimes, natural
from disbatch.report.usage import UsageTable
from disbatch.report.words import size, span

CURVE_BINS = 600  # a screen is not much wider
HISTOGRAM_BINS = 48
MAX_DRAWN_TASKS = 50_000  # drawn one by one; of more, each lane shows how busy it was
MAX_NAMED_TASKS = 20_000  # whose commands are in the page: they make most of its size
MAX_LANES = 300  # slots, else nodes, else groups of nodes
MAX_BARS = 60  # nodes to compare
COMMAND_CHARS = 120
BETWEEN_RUNS = 0.01  # of all their time
SHORTEST_S = 0.0005  # what is written as 0.000
WIDE_RANGE = 50  # largest to smallest: beyond it the axis is logarithmic
NEARLY = 2  # largest to smallest: sizes up to it are compared with nothing
_DURATION_TICKS = [m * 10.0**e for e in range(-3, 2) for m in (1, 2, 5)][:-2] + [
    20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 5 * 3600, 10 * 3600, 86400, 2 * 86400, 7 * 86400,
]  # fmt: skip
_SIZE_TICKS = [m * 1024.0**e for e in range(5) for m in (1, 4, 16, 64, 256)]  # KiB
_MAX_TICKS = 8


class Axis:
    """Where a moment of a run stands on the page."""

    def __init__(self, runs: Sequence[RunTimes]) -> None:
        whole = sum(run.figures.wall_s for run in runs)
        self.begins: list[float] = []
        at = 0.0
        for run in runs:
            self.begins.append(at)
            at += run.figures.wall_s + BETWEEN_RUNS * whole
        self.end_s = max(at - BETWEEN_RUNS * whole, 0.001) if runs else 0.001

    def place(self, runs: Sequence[RunTimes], number: int, moment_s: float) -> float:
        return self.begins[number] + moment_s - runs[number].begin_s


def charts(
    report: Report,
    runs: Sequence[RunTimes],
    rows: Rows,
    usages: Sequence[UsageTable | None],
    command_of: Callable[[int], str],
) -> dict[str, Any]:
    """Everything that the page's script draws."""
    axis = Axis(runs)
    return {
        "end": axis.end_s,
        "curve": _curve(runs, rows, axis),
        "durations": _durations(runs, rows),
        "nodes": _nodes(report),
        "timeline": _timeline(runs, rows, axis, command_of),
        "usage": _usage(report, usages),
    }


def _curve(runs: Sequence[RunTimes], rows: Rows, axis: Axis) -> dict[str, Any]:
    """How many slots were busy over time, how many there were, barriers, tails."""
    starts, finishes = array("d"), array("d")
    room: list[tuple[float, int]] = []
    barriers, tails = [], []
    for number, run in enumerate(runs):
        shift = axis.begins[number] - run.begin_s
        starts.extend(rows.start[row] + shift for row in run.rows)
        finishes.extend(rows.finish[row] + shift for row in run.rows)
        have = 0
        for node in sorted(run.nodes, key=lambda node: node.begin_s):
            have += node.slots
            room.append((node.begin_s + shift, have))
        room.append((run.end_s + shift, 0))
        for tail in run.figures.tails:
            tails.append([tail.begin_s + shift, tail.end_s + shift])
            if tail.line_no:
                barriers.append([tail.end_s + shift, tail.line_no])
    busy = busy_curve(starts, finishes, 0.0, axis.end_s, CURVE_BINS)
    width = axis.end_s / CURVE_BINS
    return {
        "x": [round(width * (cell + 0.5), 4) for cell in range(CURVE_BINS)],
        "busy": [round(value, 3) for value in busy],
        "slots": [[round(x, 4), y] for x, y in room],
        "barriers": barriers,
        "tails": tails,
        "runs": [[begin, printable(run.path)] for begin, run in zip(axis.begins, runs, strict=True)],
    }


def _durations(runs: Sequence[RunTimes], rows: Rows) -> dict[str, Any] | None:
    good, bad = array("d"), array("d")
    for run in runs:
        for row in run.rows:
            (bad if rows.code[row] else good).append(max(rows.elapsed[row], SHORTEST_S))
    return histogram([good, bad], _DURATION_TICKS, span)


def histogram(
    groups: Sequence[Sequence[float]],
    ticks: Sequence[float],
    words: Callable[[float], str],
    marks: Sequence[tuple[float, str]] = (),
    from_to: tuple[float, float] | None = None,
    unit: float = 1.0,
) -> dict[str, Any] | None:
    """Counts of positive values in equal steps, of their logarithms where they differ much; one list a group.

    `marks` are values to point out; those outside are left out. `from_to` makes the axis linear and at least that long;
    such an axis has its ticks at round numbers of the `unit`.
    """
    if not any(groups):
        return None
    low, high = min(chain(*groups)), max(chain(*groups))
    if from_to:
        low, high = min(low, from_to[0]), max(high, from_to[1])
    scale = math.log10 if high > WIDE_RANGE * low and not from_to else _same
    first, last = scale(low), scale(high)
    step = (last - first) / HISTOGRAM_BINS or 1.0
    counts = [[0] * HISTOGRAM_BINS for _ in groups]
    for group, cells in zip(groups, counts, strict=True):
        for value in group:
            cells[min(int((scale(value) - first) / step), HISTOGRAM_BINS - 1)] += 1
    if scale is _same:
        shown = _even(low, high, unit) if high > low else [low]
    else:
        inside = [tick for tick in ticks if low <= tick <= high]
        shown = inside[:: math.ceil(len(inside) / _MAX_TICKS)] if inside else [low, high]
    edges = [first + step * number for number in range(HISTOGRAM_BINS + 1)]
    unscale: Callable[[float], float] = _same if scale is _same else lambda value: 10.0**value
    return {
        "x": [edge + step / 2 for edge in edges[:-1]],
        "width": step,
        "counts": counts,
        "ranges": [f"{words(unscale(a))} to {words(unscale(b))}" for a, b in pairwise(edges)],
        "ticks": [scale(tick) for tick in shown],
        "marks": [[scale(value), text] for value, text in marks if low <= value <= high],
        "words": [_short(words(tick)) for tick in shown],
    }


def _even(low: float, high: float, unit: float) -> list[float]:
    """Some three to six round numbers."""
    least = (high - low) / 5
    power = unit * 10.0 ** math.floor(math.log10(least / unit))
    step = next(m * power for m in (1, 2, 5, 10, 20) if m * power >= least)
    return [step * number for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def _short(text: str) -> str:
    """`1.00 s` as `1 s`, for the few places under an axis."""
    number, blank, unit = text.partition(" ")
    return (number.rstrip("0").rstrip(".") if "." in number else number) + blank + unit


def _same(value: float) -> float:
    return value


def _nodes(report: Report) -> dict[str, Any]:
    nodes = report.nodes
    if len(nodes) > MAX_BARS:
        nodes = sorted(nodes, key=lambda node: node.busy_share)[:MAX_BARS]
    return {
        "all": len(report.nodes),
        "name": [printable(node.name) for node in nodes],
        "busy": [round(100 * node.busy_share, 2) for node in nodes],
        "median": [node.median_s for node in nodes],
        "median_words": [span(node.median_s) for node in nodes],
        "tasks": [node.tasks for node in nodes],
        "failed": [node.failed for node in nodes],
        "slots": [node.slots for node in nodes],
    }


def _usage(report: Report, usages: Sequence[UsageTable | None]) -> dict[str, Any] | None:
    if report.usage is None:
        return None
    peaks, shares = array("d"), array("d")
    for usage in usages:
        if usage is None:
            continue
        peaks.extend(float(max(peak, 1)) for peak in usage.peak)
        rows = zip(usage.cpu, usage.elapsed, usage.cores, strict=True)
        shares.extend(100 * cpu / (took * cores) for cpu, took, cores in rows if took >= EFFICIENCY_FROM_S)
    return {
        "memory": _memory(peaks, _memory_of_a_slot(report) + _least_that_is_told(report)),
        "cpu": histogram([shares], [], lambda percent: f"{percent:.0f} %", from_to=(0.0, 100.0)),
    }


def _memory(peaks: Sequence[float], marks: Sequence[tuple[float, str]]) -> dict[str, Any] | None:
    """Sizes that are nearly the same are shown as that: from nothing on, rather than each by itself."""
    alike = bool(peaks) and max(peaks) <= NEARLY * min(peaks)
    whole = (0.0, max(peaks)) if alike else None
    unit = 1024.0 ** math.floor(math.log(max(peaks), 1024)) if peaks else 1.0
    return histogram([peaks], _SIZE_TICKS, lambda kib: size(1024 * kib), marks, whole, unit)


def _memory_of_a_slot(report: Report) -> list[tuple[float, str]]:
    """What a task may take where all slots of the smallest node take the same."""
    shares = [n.memory_kib / n.slots for n in report.usage.nodes if n.memory_kib] if report.usage else []
    return [(min(shares), "memory of a node, by its slots ")] if shares else []


def _least_that_is_told(report: Report) -> list[tuple[float, str]]:
    vague = report.usage.vague_peak_kib if report.usage else 0
    return [(float(vague), "up to here: or less ")] if vague else []


def _timeline(
    runs: Sequence[RunTimes], rows: Rows, axis: Axis, command_of: Callable[[int], str]
) -> dict[str, Any]:
    """Tasks one by one, or how busy each lane was in each part of the time."""
    room: dict[str, int] = {}
    for run in runs:
        for node in run.nodes:
            room[node.name] = max(node.slots, room.get(node.name, 0))
    names = sorted(room, key=natural)
    tasks = sum(len(run.rows) for run in runs)
    if tasks <= MAX_DRAWN_TASKS and sum(room.values()) <= MAX_LANES:
        return _drawn(runs, rows, axis, names, room, command_of if tasks <= MAX_NAMED_TASKS else None)
    return _shares(runs, rows, axis, names, room)


def _drawn(
    runs: Sequence[RunTimes],
    rows: Rows,
    axis: Axis,
    names: Sequence[str],
    room: dict[str, int],
    command_of: Callable[[int], str] | None,
) -> dict[str, Any]:
    first, lanes = {}, 0
    for name in names:
        first[name] = lanes
        lanes += room[name]
    order: list[tuple[int, float, int]] = []  # lane, begin, row: as the script wants them
    for number, run in enumerate(runs):
        for node in run.nodes:
            for row, slot in zip(node.rows, node.layout.slot, strict=True):
                order.append((first[node.name] + slot, axis.place(runs, number, rows.start[row]), row))
    order.sort()
    picked = [row for _, _, row in order]
    return {
        "kind": "tasks",
        "lanes": [[printable(name), room[name]] for name in names],
        "lane": packed("H", (lane for lane, _, _ in order)),
        "begin": packed("f", (begin for _, begin, _ in order)),
        "length": packed("f", (rows.finish[row] - rows.start[row] for row in picked)),
        "task": packed("d", (rows.task[row] for row in picked)),
        "line": packed("d", (rows.line[row] for row in picked)),
        "code": packed("i", (max(min(rows.code[row], 99999), -99999) for row in picked)),
        "command": _commands(picked, command_of) if command_of else None,
    }


def _commands(rows: Sequence[int], command_of: Callable[[int], str]) -> list[str]:
    found = {}
    for row in sorted(rows):  # in the order of the file
        text = command_of(row)
        found[row] = text if len(text) <= COMMAND_CHARS else text[: COMMAND_CHARS - 1] + "…"
    return [found[row] for row in rows]


def _shares(
    runs: Sequence[RunTimes], rows: Rows, axis: Axis, names: Sequence[str], room: dict[str, int]
) -> dict[str, Any]:
    by_slot = sum(room.values()) <= MAX_LANES
    together = 1 if by_slot else math.ceil(len(names) / MAX_LANES)
    first, lanes, labels = {}, 0, []
    for number, name in enumerate(names):
        if by_slot:
            labels.append([printable(name), room[name]])
            first[name], lanes = lanes, lanes + room[name]
        else:
            if number % together == 0:
                last = names[min(number + together, len(names)) - 1]
                labels.append([printable(name if together == 1 else f"{name} … {last}"), 1])
                lanes += 1
            first[name] = lanes - 1
    width = [0] * lanes
    for name in names:
        for slot in range(room[name]):
            width[first[name] + (slot if by_slot else 0)] += 1
    times = [(array("d"), array("d"), array("d"), array("d")) for _ in range(lanes)]
    for number, run in enumerate(runs):
        shift = axis.begins[number] - run.begin_s
        for node in run.nodes:
            for row, slot in zip(node.rows, node.layout.slot, strict=True):
                lane = times[first[node.name] + (slot if by_slot else 0)]
                begin, end = rows.start[row] + shift, rows.finish[row] + shift
                lane[0].append(begin)
                lane[1].append(end)
                if rows.code[row]:
                    lane[2].append(begin)
                    lane[3].append(end)
    busy, failed = bytearray(), bytearray()
    for lane, slots in zip(times, width, strict=True):
        for share, cells in ((lane[:2], busy), (lane[2:], failed)):
            curve = busy_curve(*share, 0.0, axis.end_s, CURVE_BINS)
            cells.extend(min(math.ceil(255 * value / slots), 255) for value in curve)
    return {
        "kind": "shares",
        "by": "slot" if by_slot else "node" if together == 1 else f"{together} nodes",
        "lanes": labels,
        "bins": CURVE_BINS,
        "busy": b64encode(busy).decode("ascii"),
        "failed": b64encode(failed).decode("ascii"),
    }


def packed(code: str, values: Any) -> str:
    """Numbers as base64 of their bytes, low byte first, as a typed array of a browser takes them."""
    numbers = array(code, values)
    if byteorder == "big":
        numbers.byteswap()
    return b64encode(numbers.tobytes()).decode("ascii")
