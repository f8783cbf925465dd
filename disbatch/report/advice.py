"""What to do differently next time, in numbers. Pure: from the figures of a report, and by replaying its tasks."""

import heapq
from collections.abc import Callable, Sequence

from disbatch.core.plural import noun
from disbatch.report.model import NodeFigures, Prediction, Report, SlotAdvice, Usage
from disbatch.report.times import RunTimes
from disbatch.report.words import core_hours, count, share, size, span

BUSY_TARGET = 0.9  # slots that are busy less than this are too many
WORTH_SHARE, WORTH_S = 0.05, 1.0  # what a change of order has to save before it is told
EXACT_TASKS = 5_000  # of a phase: the last ones are replayed one by one, those before as evenly spread work
REPLAYED_TASKS = 20_000  # of all phases together: keeps a list of a million tasks at a second or two
SLOW_NODE = 1.5  # a node whose median is that many times the others'
FEW_TASKS = 20  # a median of fewer says little
SHORT_PAUSE_SHARE = 0.2  # of the time of a slot: more than this between tasks, and they are too short
MOST_SLOTS = 1_000_000
LONGEST_PAUSE_S = 1.0  # between tasks; a longer one is no cost of a task, the slot waited for something


def replay(durations: Sequence[float], slots: int) -> float:
    """When the last of the tasks ends, if each goes, in this order, to the slot that is free first."""
    if slots >= len(durations):
        return max(durations, default=0.0)
    exact = max(EXACT_TASKS, 2 * slots)
    level = sum(durations[:-exact]) / slots if len(durations) > exact else 0.0
    free = [level] * slots
    end = level
    for duration in durations[-exact:]:
        done = free[0] + duration
        heapq.heapreplace(free, done)
        end = max(end, done)
    return end


class _List:
    """The durations of a run's tasks by phase, with the usual pause added to each; fewer phases where there are many."""

    def __init__(self, phases: Sequence[Sequence[float]]) -> None:
        step = max(sum(min(len(phase), EXACT_TASKS) for phase in phases) // REPLAYED_TASKS, 1)
        self.phases = [*phases[::step]]
        self.work_s = sum(map(sum, phases))
        part = sum(map(sum, self.phases))
        self.scale = self.work_s / part if part > 0 else 1.0
        self.widest = min(max(map(len, self.phases)), MOST_SLOTS)
        self._known: dict[int, Prediction] = {}
        self._bounds = [(sum(phase), max(phase)) for phase in self.phases]
        self.shortest_s = sum(map(max, phases))

    def on(self, slots: int) -> Prediction:
        if slots not in self._known:
            wall = self.scale * sum(replay(phase, slots) for phase in self.phases)
            busy = min(self.work_s / (slots * wall), 1.0) if wall > 0 else 0.0
            self._known[slots] = Prediction(slots, wall, busy)
        return self._known[slots]

    def keeps_busy(self, slots: int) -> bool:
        """Whether so many slots would be busy for as much of the time as is wanted."""
        # most counts are decided by what no order of tasks can change; replaying is for the others
        least = self.scale * sum(max(longest, work / slots) for work, longest in self._bounds)
        return self.work_s >= BUSY_TARGET * slots * least and self.on(slots).busy_share >= BUSY_TARGET

    def longest_first_s(self, slots: int) -> float:
        return self.scale * sum(replay(sorted(phase, reverse=True), slots) for phase in self.phases)


def slot_advice(runs: Sequence[RunTimes], elapsed: Sequence[float]) -> SlotAdvice | None:
    """How many slots would have been right for the run with the most work. None where no task took time."""
    run = max(runs, key=lambda run: run.figures.busy_slot_s, default=None)
    if run is None or run.figures.busy_slot_s <= 0:
        return None
    pause = min(run.figures.gap_s, LONGEST_PAUSE_S)
    tasks = _List([[elapsed[run.rows[task]] + pause for task in phase.tasks] for phase in run.phases])
    most = _largest(_counts(tasks.widest, run.slots), tasks.keeps_busy)
    return SlotAdvice(
        path=run.path,
        wall_s=run.figures.wall_s,
        now=tasks.on(run.slots),
        suggested=tasks.on(max(most, 1)),
        shortest_s=tasks.shortest_s,
        longest_first_s=tasks.longest_first_s(run.slots),
    )


def _counts(most: int, now: int) -> list[int]:
    """Counts of slots to try: small ones all, then in steps of an eighth, and those that there were."""
    counts, count = {min(now, most), most}, 1
    while count < most:
        counts.add(count)
        count += max(count // 8, 1)
    return sorted(counts)


def _largest(counts: Sequence[int], holds: Callable[[int], bool]) -> int:
    """The largest number for which something holds, 0 if none. What holds for a number need not for each below it:
    eight tasks keep eight slots as busy as four, and seven less. Between two counts it is taken to change once."""
    for position in range(len(counts) - 1, -1, -1):
        if holds(counts[position]):
            low, high = counts[position], counts[min(position + 1, len(counts) - 1)]
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (middle, high) if holds(middle) else (low, middle)
            return low
    return 0


def advise(report: Report) -> list[str]:
    """Sentences, the most telling first; empty when there is nothing to say."""
    found = []
    if report.slot_advice:
        found += _slots(report.slot_advice, report)
        found += _order(report.slot_advice)
    found += _short_tasks(report)
    found += _nodes(report)
    if report.usage:
        found += _usage(report.usage)
    found += _leaks(report)
    return found


def _slots(advice: SlotAdvice, report: Report) -> list[str]:
    now, new = advice.now, advice.suggested
    text = (
        f"Slots: {new.slots} suit this list. They would be {share(new.busy_share)} busy "
        f"and take about {span(new.wall_s)}; "
    )
    if new.slots == now.slots:
        text = f"Slots: {now.slots}, as many as there were, suit this list"
    elif new.slots < now.slots:
        saved = (now.slots * now.wall_s - new.slots * new.wall_s) * _cores(report)
        text += (
            f"the {now.slots} that there were need {span(now.wall_s)} and are {share(now.busy_share)} busy: "
            f"{core_hours(saved)} core-hours saved"
        )
    else:
        text += f"{now.slots}, as many as there were, need {span(now.wall_s)}"
    if new.slots != now.slots and advice.shortest_s > 0.5 * new.wall_s:
        text += f". No number of slots needs less than {span(advice.shortest_s)}: the longest tasks take that"
    found = [text + "."]
    if advice.wall_s > 1.25 * now.wall_s + WORTH_S:
        found.append(
            f"The run took {span(advice.wall_s)}, although {count(now.slots, 'slot')} {noun(now.slots, 'needs', 'need')} only {span(now.wall_s)} for its "
            "tasks: engines came late or left, or tasks came slowly."
        )
    return found


def _order(advice: SlotAdvice) -> list[str]:
    saved = advice.now.wall_s - advice.longest_first_s
    if saved < max(WORTH_SHARE * advice.now.wall_s, WORTH_S):
        return []
    return [
        f"Order: with the longest tasks at the top of the list, {count(advice.now.slots, 'slot')} "
        f"{noun(advice.now.slots, 'needs', 'need')} "
        f"{span(advice.longest_first_s)} instead of {span(advice.now.wall_s)}."
    ]


def _short_tasks(report: Report) -> list[str]:
    run = max(report.runs, key=lambda run: run.busy_slot_s, default=None)
    if run is None or not report.durations or report.durations.mean_s <= 0:
        return []
    mean, gap = report.durations.mean_s, run.gap_s
    if gap / (gap + mean) < SHORT_PAUSE_SHARE:
        return []
    several = max(round(gap / (0.05 * mean)), 2)
    return [
        f"Short tasks: {span(mean)} each, and a pause of {span(gap)} before the next. With {several:,} commands in a "
        "line, pauses would be a twentieth of the time."
    ]


def _nodes(report: Report) -> list[str]:
    found = []
    many = [node for node in report.nodes if node.tasks >= FEW_TASKS]
    slow = [(node, _others_s(many, node)) for node in many] if len(many) > 1 else []
    for node, others in sorted(slow, key=lambda pair: -pair[0].median_s)[:3]:
        if others > 0 and node.median_s > SLOW_NODE * others and node.median_s > 0.05:
            found.append(
                f"Slow node: {node.name} needs {span(node.median_s)} for the median task, the others {span(others)}."
            )
    failed = sum(node.failed for node in report.nodes)
    worst = max(report.nodes, key=lambda node: node.failed, default=None)
    if worst and len(report.nodes) > 1 and failed >= 10 and worst.failed >= 0.8 * failed:
        if worst.tasks < 0.6 * sum(node.tasks for node in report.nodes):
            found.append(f"Failing node: {worst.failed:,} of {failed:,} failures happened on {worst.name}.")
    return found


def _others_s(nodes: Sequence[NodeFigures], node: NodeFigures) -> float:
    medians = sorted(other.median_s for other in nodes if other is not node)
    return medians[len(medians) // 2]


def _usage(usage: Usage) -> list[str]:
    found = []
    cores = usage.cores_per_slot
    busy = usage.efficiency * cores
    if usage.core_s >= 1 and cores >= 1.5 and busy < 0.6 * cores:
        found.append(
            f"Cores: tasks use {busy:.1f} of the {cores:.0f} cores of their slot; -c {max(round(busy + 0.3), 1)} "
            "would make room for more slots."
        )
    elif usage.core_s >= 1 and busy > 1.2 * cores:
        found.append(
            f"Cores: tasks use {busy:.1f} cores, their slots have {cores:.0f}; -c {max(round(busy), 1)} sets them aside."
        )
    tight = [
        n
        for n in usage.nodes
        if n.memory_kib
        and n.largest_peak_kib > n.vague_peak_kib
        and n.largest_peak_kib * n.slots > n.memory_kib
    ]
    if tight:
        node = min(tight, key=lambda n: n.memory_kib / (n.largest_peak_kib * n.slots))
        room = max(node.memory_kib // node.largest_peak_kib, 1)
        found.append(
            f"Memory: a task of {size(1024 * node.largest_peak_kib)} in each of the {count(node.slots, 'slot')} of {node.name} is "
            f"more than its {size(1024 * node.memory_kib)}; there is room for {count(room, 'such task')} at a time."
        )
    return found


def _leaks(report: Report) -> list[str]:
    leaks = report.leaks
    if not leaks.tasks:
        return []
    numbers = ", ".join(str(line.line_no) for line in leaks.largest[:5])
    more = f" and {leaks.lines - 5:,} more" if leaks.lines > 5 else ""
    return [
        f"Output: {count(leaks.tasks, 'task')} printed {size(leaks.out_bytes + leaks.err_bytes)} that nobody caught, "
        f"from line{'s' if leaks.lines > 1 else ''} {numbers}{more} of the list; redirect it, "
        "for example with #DISBATCH SUFFIX."
    ]


def _cores(report: Report) -> float:
    return max((run.cores_per_slot for run in report.runs), default=1.0)
