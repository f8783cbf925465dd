"""The figures of a run in the text format of Prometheus (0.0.4). Pure."""

from collections.abc import Iterable

from disbatch.core.snapshot import RunSnapshot

CONTENT_TYPE = "text/plain"
VERSION = "0.0.4"


def metrics(s: RunSnapshot, run_id: str, name: str) -> str:
    """All of it, one family after another. Times in seconds; counts of tasks without per-engine commands and barriers."""
    states = [("done", s.done), ("failed", s.failed), ("skipped", s.skipped)]
    waits = [("running", s.running), ("waiting", s.ready)]
    families = [
        _family("disbatch_run_info", "gauge", "The run; always 1.", [({"run": run_id, "list": name}, 1)]),
        _family("disbatch_up", "gauge", "1 while tasks are started, 0 when the run is ending.", [({}, int(s.state == "running"))]),
        _family("disbatch_tasks_ended_total", "counter", "Tasks that have ended, by how.", [({"result": r}, n) for r, n in states]),
        _family("disbatch_tasks", "gauge", "Tasks that run, and tasks that were read and wait.", [({"state": r}, n) for r, n in waits]),
        _family("disbatch_tasks_expected", "gauge", "Tasks in all, once they are counted.", [] if s.total is None else [({}, s.total)]),
        _family("disbatch_slots", "gauge", "Slots of all engines that take tasks.", [({}, s.slots)]),
        _family("disbatch_engines", "gauge", "Engines, by state.", _engines(s)),
        _family("disbatch_elapsed_seconds", "gauge", "Time since the run began.", [({}, round(s.elapsed_s, 3))]),
    ]  # fmt: skip
    return "".join(families)


def _engines(s: RunSnapshot) -> list[tuple[dict[str, str], int]]:
    counts: dict[str, int] = {}
    for engine in s.engines:
        counts[engine.state] = counts.get(engine.state, 0) + 1
    return [({"state": state.lower()}, number) for state, number in sorted(counts.items())]


def _family(name: str, kind: str, text: str, samples: Iterable[tuple[dict[str, str], float]]) -> str:
    lines = [f"{name}{_labels(labels)} {value}\n" for labels, value in samples]
    return f"# HELP {name} {text}\n# TYPE {name} {kind}\n{''.join(lines)}" if lines else ""


def _labels(labels: dict[str, str]) -> str:
    pairs = [f'{name}="{_escaped(value)}"' for name, value in labels.items()]
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
