"""From rows to a `Report`: durations, failures, nodes, leaks, usage. Pure: lines are fetched by a function that is given."""

from array import array
from collections.abc import Callable, Iterable, Sequence
from heapq import nlargest
from math import ceil
from operator import itemgetter
from typing import TypeVar

from disbatch.core.failures import OTHER, FailureGroups, last_line
from disbatch.core.printable import printable
from disbatch.core.resume import Fate
from disbatch.core.status import StatusRecord
from disbatch.report.advice import advise, slot_advice
from disbatch.report.model import (
    CoreTime,
    Durations,
    FailureLine,
    LeakLine,
    Leaks,
    NodeFigures,
    NodeMemory,
    Report,
    TaskLine,
    Usage,
)
from disbatch.report.rows import Kind, Rows
from disbatch.report.times import RunTimes, natural, run_times
from disbatch.report.usage import UsageTable

Fetch = Callable[[int], StatusRecord]
HOW = Callable[[int], str]
Number = TypeVar("Number", int, float)
ORDINARY_PEAKS = 1.1  # times the median: what takes no more is nothing to point at
EFFICIENCY_FROM_S = 0.1  # a shorter task is mostly the start of its shell


def make_report(
    rows: Rows,
    paths: Sequence[str],
    notes: Sequence[str],
    usages: Sequence[UsageTable | None],
    fetch: Fetch,
    how: HOW,
    top: int,
) -> tuple[Report, list[RunTimes]]:
    """The whole report, and the times that charts are drawn from. `top`: how many of the longest and so on to list."""
    final = rows.final()
    runs = []
    for run, (path, usage) in enumerate(zip(paths, usages, strict=True)):
        known = usage.slots if usage else {}
        times = run_times(rows, run, path, known, usage.cores_per_slot if usage and len(usage) else 1.0)
        if times:
            runs.append(times)

    def line_of(row: int) -> TaskLine:
        return task_line(fetch(row))

    timed = array("l", rows.timed())
    durations = durations_of([rows.elapsed[row] for row in timed])
    failed = [row for row in final.values() if rows.fate[row] == Fate.FAILED]
    setup = [*rows.of_kind(Kind.SETUP)]
    leaks = _leaks(rows, final, line_of, top)
    usage_figures = _usage(rows, usages, line_of, top, runs)
    report = Report(
        paths=list(paths),
        notes=[*notes, *_list_notes(rows, final, len(paths))],
        tasks=len(final),
        failed=len(failed),
        lost=sum(1 for row in final.values() if rows.fate[row] == Fate.LOST),
        earlier=sum(1 for row in final.values() if rows.kind[row] == Kind.SKIPPED),
        repaired=_repaired(rows, final),
        setup=len(setup),
        setup_failed=sum(1 for row in setup if rows.code[row]),
        barriers=sum(1 for _ in rows.of_kind(Kind.BARRIER)),
        begin_s=min((run.begin_s for run in runs), default=0.0),
        end_s=max((run.end_s for run in runs), default=0.0),
        wall_s=sum(run.figures.wall_s for run in runs),
        durations=durations,
        longest=[line_of(row) for row in nlargest(top, timed, key=rows.elapsed.__getitem__)],
        failures=_failures(rows, failed, fetch, how),
        nodes=_nodes(runs),
        runs=[run.figures for run in runs],
        core_time=_core_time(runs, any(usage for usage in usages)),
        leaks=leaks,
        usage=usage_figures,
        slot_advice=slot_advice(runs, rows.elapsed),
        advice=[],
    )
    report.advice.extend(advise(report))
    return report, runs


def durations_of(seconds: Sequence[float]) -> Durations | None:
    """Figures of some durations, None when there are none."""
    if not seconds:
        return None
    ordered, total = sorted(seconds), sum(seconds)
    return Durations(
        count=len(ordered),
        total_s=total,
        mean_s=total / len(ordered),
        shortest_s=ordered[0],
        median_s=percentile(ordered, 50),
        p95_s=percentile(ordered, 95),
        longest_s=ordered[-1],
    )


def percentile(ordered: Sequence[Number], percent: float) -> Number:
    """The smallest of the sorted values that `percent` per cent of them do not exceed."""
    return ordered[max(ceil(len(ordered) * percent / 100) - 1, 0)]


def task_line(r: StatusRecord) -> TaskLine:
    """A record as it is shown."""
    return TaskLine(
        r.task_id, r.line_no, r.repeat_index, r.node, r.returncode, r.elapsed_s, printable(r.command)
    )


def _list_notes(rows: Rows, final: dict[int, int], files: int) -> list[str]:
    if files < 2:
        return []
    twice = len(final) - len({rows.task[row] for row in final.values()})
    if not twice:
        return []
    return [
        f"{twice} task numbers stand for different commands in different files: each counts as a task of its own"
    ]


def _repaired(rows: Rows, final: dict[int, int]) -> int:
    """How many tasks failed in one of the runs and then went well."""
    keys = rows.keys
    tried = {keys[row] for row in rows.of_kind(Kind.TASK) if rows.fate[row] == Fate.FAILED}
    return sum(1 for key in tried if rows.fate[final[key]] == Fate.DONE)


def _failures(rows: Rows, failed: Sequence[int], fetch: Fetch, how: HOW) -> list[FailureLine]:
    groups = FailureGroups()
    nodes: dict[tuple[int, str], set[int]] = {}
    for row in failed:  # the example of a group is a row here, so that its line can be fetched
        code, reason = rows.code[row], rows.reasons[rows.reason[row]]
        groups.add_cause(row, code, reason)
        nodes.setdefault((code, reason), set()).add(rows.node[row])
    found = []
    for group in groups.largest():
        code, reason, example = group.returncode, group.cause, fetch(group.task_id)
        mixed = reason == OTHER  # of many messages, none of which stands for the others
        message = reason if mixed else last_line(example.err_snippet)
        on = 0 if mixed else len(nodes[code, reason])
        found.append(FailureLine(group.count, code, how(code), message, task_line(example), on))
    return found


def _nodes(runs: Sequence[RunTimes]) -> list[NodeFigures]:
    found: dict[str, NodeFigures] = {}
    for run in runs:
        for node in run.nodes:
            old = found.get(node.name)
            tasks = len(node.rows)
            median = node.median_s
            if old:  # of two medians the one that stands for more tasks
                median = old.median_s if old.tasks > tasks else median
            found[node.name] = NodeFigures(
                node.name,
                max(node.slots, old.slots if old else 0),
                tasks + (old.tasks if old else 0),
                node.failed + (old.failed if old else 0),
                median,
                node.busy_s + (old.busy_slot_s if old else 0.0),
                node.capacity_s(run.end_s) + (old.capacity_slot_s if old else 0.0),
            )
    return sorted(found.values(), key=lambda node: natural(node.name))


def _core_time(runs: Sequence[RunTimes], known: bool) -> CoreTime:
    used = idle = tail = barriers = 0.0
    for run in runs:
        f = run.figures
        used += f.busy_slot_s * f.cores_per_slot
        idle += max(f.capacity_slot_s - f.busy_slot_s, 0.0) * f.cores_per_slot
        tail += sum(t.idle_slot_s for t in f.tails if not t.line_no) * f.cores_per_slot
        barriers += sum(t.idle_slot_s for t in f.tails if t.line_no) * f.cores_per_slot
    return CoreTime(used, idle, tail, barriers, known)


def _leaks(rows: Rows, final: dict[int, int], line_of: Callable[[int], TaskLine], top: int) -> Leaks:
    lines: dict[int, list[int]] = {}  # line of the task list -> tasks, bytes out, bytes err, a row
    tasks = out_bytes = err_bytes = 0
    for row in final.values():
        out, err = rows.out[row], rows.err[row]
        if out <= 0 and err <= 0:
            continue
        tasks += 1
        out_bytes += out
        err_bytes += err
        line = lines.setdefault(rows.line[row], [0, 0, 0, row])
        line[0] += 1
        line[1] += out
        line[2] += err
    largest = nlargest(top, lines.items(), key=lambda item: (item[1][0], item[1][1] + item[1][2], -item[0]))
    shown = [LeakLine(no, count, out, err, line_of(row).command) for no, (count, out, err, row) in largest]
    return Leaks(tasks, out_bytes, err_bytes, len(lines), shown)


def _usage(
    rows: Rows,
    usages: Sequence[UsageTable | None],
    line_of: Callable[[int], TaskLine],
    top: int,
    runs: Sequence[RunTimes],
) -> Usage | None:
    tables = [(run, usage) for run, usage in enumerate(usages) if usage is not None and len(usage)]
    if not tables:
        return None
    peaks = sorted(peak for _, usage in tables for peak in usage.peak)
    efficiencies = sorted(
        cpu / (elapsed * cores)
        for _, usage in tables
        for cpu, elapsed, cores in zip(usage.cpu, usage.elapsed, usage.cores, strict=True)
        if elapsed >= EFFICIENCY_FROM_S
    )
    core_s = sum(e * c for _, u in tables for e, c in zip(u.elapsed, u.cores, strict=True))
    elapsed_s = sum(sum(usage.elapsed) for _, usage in tables)
    usual = ORDINARY_PEAKS * percentile(peaks, 50)
    hungry = nlargest(
        top,
        (
            (peak, run, task)
            for run, u in tables
            for peak, task, node in zip(u.peak, u.task, u.node, strict=True)
            if peak > usual and peak > u.vague_kib.get(node, 0)
        ),
    )
    return Usage(
        tasks=len(peaks),
        cpu_s=sum(sum(usage.cpu) for _, usage in tables),
        core_s=core_s,
        median_efficiency=percentile(efficiencies, 50) if efficiencies else 0.0,
        cores_per_slot=core_s / elapsed_s if elapsed_s > 0 else 1.0,
        peak_median_kib=percentile(peaks, 50),
        peak_p95_kib=percentile(peaks, 95),
        peak_largest_kib=peaks[-1],
        vague_peak_kib=max((kib for _, usage in tables for kib in usage.vague_kib.values()), default=0),
        largest=_hungriest(rows, hungry, line_of),
        nodes=_memory([usage for _, usage in tables], runs),
    )


def _hungriest(
    rows: Rows, hungry: Iterable[tuple[int, int, int]], line_of: Callable[[int], TaskLine]
) -> list[tuple[int, TaskLine]]:
    """With their lines; a task whose line is not (yet) in the status file is left out."""
    wanted = {(run, task): peak for peak, run, task in hungry}
    row_of = {
        (rows.run[row], rows.task[row]): row
        for row in rows.of_kind(Kind.TASK)
        if (rows.run[row], rows.task[row]) in wanted
    }
    found = [(peak, row_of[key]) for key, peak in wanted.items() if key in row_of]
    return [(peak, line_of(row)) for peak, row in sorted(found, key=itemgetter(0), reverse=True)]


def _memory(tables: Sequence[UsageTable], runs: Sequence[RunTimes]) -> list[NodeMemory]:
    peak: dict[str, int] = {}
    vague: dict[str, int] = {}
    for table in tables:
        for node, kib in table.vague_kib.items():
            vague[table.nodes[node]] = max(kib, vague.get(table.nodes[node], 0))
        for value, node in zip(table.peak, table.node, strict=True):
            name = table.nodes[node]
            if value > peak.get(name, 0):
                peak[name] = value
    memory = {name: kib for table in tables for name, kib in table.memory_kib.items()}
    slots = {node.name: node.slots for run in runs for node in run.nodes}
    return [
        NodeMemory(name, memory.get(name, 0), slots.get(name, 1), peak[name], vague.get(name, 0))
        for name in sorted(peak, key=natural)
    ]
