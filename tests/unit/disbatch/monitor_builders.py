"""Snapshots for the tests of what people look at."""

from disbatch.core.snapshot import ContextView, EngineView, FailureView, RunningView, RunSnapshot, Sample

GIB = 1 << 20  # KiB


def engine(rank: int = 0, node: str = "", **more: object) -> EngineView:
    usual = EngineView(
        rank,
        node or f"node{rank:02d}",
        "SSH0",
        "RUNNING",
        4,
        4,
        5,
        15,
        10,
        1,
        2.0,
        1.5,
        8 * GIB,
        64 * GIB,
        16,
    )
    return usual._replace(**more)


def running(task_id: int = 0, rank: int = 0, seconds: float = 5.0, command: str = "") -> RunningView:
    return RunningView(
        task_id, task_id + 1, -1, 1, f"node{rank:02d}", rank, seconds, command or f"run {task_id}"
    )


def failure(task_id: int = 0, code: int = 1, error: str = "no such file", rank: int = 0) -> FailureView:
    where = (f"node{rank:02d}", rank)
    return FailureView(task_id, task_id + 1, -1, *where, code, 1.5, 1.7e9 + task_id, error, f"run {task_id}")


def context(label: str = "SSH0", **more: object) -> ContextView:
    return ContextView(label, "RUNNING", 2, 8, 8, 30, 20, 2, None)._replace(**more)


def snapshot(**more: object) -> RunSnapshot:
    """Two engines at work on a list of a hundred; `more` replaces any field."""
    usual: dict[str, object] = {
        "elapsed_s": 65.0, "done": 18, "failed": 2, "skipped": 0, "running": 8, "ready": 64, "total": 100,
        "barrier": "", "state": "running", "engines": (engine(0), engine(1)), "rate": 2.0, "slots": 8, "over": False,
        "detail": True, "wall_s": 1.7e9, "contexts": (context(),),
        "tasks": tuple(running(20 + n, n % 2, 8.0 - n) for n in range(8)),
        "failures": (failure(19), failure(7, -9, "")),
        "history": tuple(Sample(float(n), n * 2, 0, 8) for n in range(11)),
    }  # fmt: skip
    return RunSnapshot(**(usual | more))  # type: ignore[arg-type]
