"""One run in time: its nodes with their slots, its phases with their tails. Pure; what one status file tells."""

import statistics
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from disbatch.report.model import RunFigures, Tail
from disbatch.report.rows import Kind, Rows
from disbatch.report.slots import Layout, Phase, lay_out, phases, slots_needed

LATEST = float("inf")


@dataclass(frozen=True, slots=True)
class NodeTimes:
    name: str
    rows: "array[int]"  # of its tasks, by start
    begin_s: float
    slots: int
    layout: Layout  # parallel to `rows`
    busy_s: float
    median_s: float
    failed: int

    def capacity_s(self, end_s: float) -> float:
        """Slot seconds that it had until then. A node that left earlier counts on: the files do not tell."""
        return self.slots * (end_s - self.begin_s)


@dataclass(frozen=True, slots=True)
class RunTimes:
    """`rows` are the run's tasks that took time, `phases` speak of positions in it."""

    path: str
    rows: "array[int]"
    begin_s: float
    end_s: float
    nodes: list[NodeTimes]
    phases: list[Phase]
    figures: RunFigures

    @property
    def slots(self) -> int:
        return self.figures.slots


def run_times(
    rows: Rows, run: int, path: str, known_slots: Mapping[str, int], cores_per_slot: float
) -> RunTimes | None:
    """The times of one run, None when no task of it took time. `known_slots`: by node, where something else tells."""
    mine = array("l", rows.timed(run))
    if not mine:
        return None
    starts = array("d", map(rows.start.__getitem__, mine))
    finishes = array("d", map(rows.finish.__getitem__, mine))
    setup = [row for row in rows.of_kind(Kind.SETUP, run) if rows.start[row] > 0]
    begin = min(chain(starts, (rows.start[row] for row in setup)))
    end = max(chain(finishes, (rows.finish[row] for row in setup)))
    nodes = _nodes(rows, mine, setup, known_slots)
    barriers = sorted((rows.finish[row], rows.line[row]) for row in rows.of_kind(Kind.BARRIER, run))
    cut = phases(starts, finishes, [met for met, _ in barriers])
    ends = max(finishes)  # a per-engine command at the end is no tail
    tails = [_tail(phase, finishes, starts, nodes, barriers, ends) for phase in cut]
    gaps = [gap for node in nodes for gap in node.layout.gaps_s]
    figures = RunFigures(
        path=path,
        begin_s=begin,
        end_s=end,
        tasks=len(mine),
        failed=sum(node.failed for node in nodes),
        slots=sum(node.slots for node in nodes),
        cores_per_slot=cores_per_slot,
        busy_slot_s=sum(node.busy_s for node in nodes),
        capacity_slot_s=sum(node.capacity_s(end) for node in nodes),
        gap_s=statistics.median(gaps) if gaps else 0.0,
        tails=tails,
    )
    return RunTimes(path, mine, begin, end, nodes, cut, figures)


def _nodes(
    rows: Rows, mine: Sequence[int], setup: Sequence[int], known_slots: Mapping[str, int]
) -> list[NodeTimes]:
    by_node: dict[int, array[int]] = {}
    for row in sorted(mine, key=rows.start.__getitem__):
        by_node.setdefault(rows.node[row], array("l")).append(row)
    first = {node: rows.start[own[0]] for node, own in by_node.items()}
    for row in setup:
        first[rows.node[row]] = min(rows.start[row], first.get(rows.node[row], LATEST))
    found = []
    for index, own in by_node.items():
        starts = [rows.start[row] for row in own]
        finishes = [rows.finish[row] for row in own]
        slots = max(slots_needed(starts, finishes), known_slots.get(rows.nodes[index], 0))
        durations = [rows.elapsed[row] for row in own]
        found.append(
            NodeTimes(
                name=rows.nodes[index],
                rows=own,
                begin_s=first[index],
                slots=slots,
                layout=lay_out(starts, finishes, slots),
                busy_s=sum(finish - start for start, finish in zip(starts, finishes, strict=True)),
                median_s=statistics.median_low(durations),
                failed=sum(1 for row in own if rows.code[row]),
            )
        )
    return sorted(found, key=lambda node: natural(node.name))


def _tail(
    phase: Phase,
    finishes: Sequence[float],
    starts: Sequence[float],
    nodes: Sequence[NodeTimes],
    barriers: Sequence[tuple[float, int]],
    last_s: float,
) -> Tail:
    """The tail of one phase, with the slot seconds that stood empty in it."""
    line_no = 0
    if phase.end_s < last_s:
        line_no = next((line for met, line in barriers if met >= phase.end_s), 0)
    begin, end = phase.tail_s, phase.end_s
    room = sum(node.slots * (end - max(begin, node.begin_s)) for node in nodes if node.begin_s < end)
    busy = sum(finishes[task] - max(starts[task], begin) for task in phase.tasks if finishes[task] > begin)
    return Tail(begin, end, max(room - busy, 0.0), line_no)


def natural(name: str) -> list[tuple[int, str]]:
    """A key that sorts node10 behind node9."""
    parts, digits = [], ""
    for character in name + "\0":
        if character.isdecimal():
            digits += character
            continue
        if digits:
            parts.append((int(digits[:18]), ""))
            digits = ""
        parts.append((-1, character))
    return parts
