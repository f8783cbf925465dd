"""What must hold after any hits: the list of a round, whose tasks keep a journal, and the check of all files against it."""

from collections import Counter
from collections.abc import Iterable

from disbatch_runs import Bench

TASKS = 24
BARRIER = 12  # the task id of the barrier
# `lock.ID` goes with the process that holds it: a second one beside it is a twin.
TASK = (
    "exec 8>lock.$DISBATCH_TASKID; flock -n 8 || echo $DISBATCH_TASKID >> twins; "
    "echo start $DISBATCH_TASKID $$ >> journal; sleep 0.1$((DISBATCH_TASKID % 10)); "
    "echo stop $DISBATCH_TASKID $$ >> journal"
)
LIST = "".join(["#DISBATCH BARRIER\n" if i == BARRIER else f"{TASK}\n" for i in range(TASKS + 1)])
ALL = {i for i in range(TASKS + 1) if i != BARRIER}


class Account:
    """What has been seen of a round's files, and every rule that was broken, in words."""

    def __init__(self, bench: Bench, tasks: Iterable[int] = ALL) -> None:
        self._bench = bench
        self._tasks = tasks
        self.faults: list[str] = []
        self._begun_at: dict[int, int] = {}  # how often each task had begun when its success was first seen

    def journal(self, word: str) -> list[tuple[int, int]]:
        """(task id, process id) of each line that begins with the word."""
        path = self._bench.path / "journal"
        lines = path.read_text().splitlines() if path.exists() else []
        return [(int(i), int(pid)) for kind, i, pid in map(str.split, lines) if kind == word]

    def look(self, prefix: str, *, torn: bool) -> dict[int, int]:
        """Reads a status file when nothing writes to it. Return codes by task id; `torn`: its last line may be torn."""
        path = self._bench.path / f"{prefix}_status.txt"
        if not path.exists():
            return {}
        *lines, rest = path.read_bytes().split(b"\n")
        if rest and not torn:
            self.faults.append(f"{path.name}: a torn last line, and its driver was not killed: {rest!r}")
        codes: dict[int, int] = {}
        ended = set(self.journal("stop"))
        for line in lines:
            fields = line.split(b"\t")
            if len(fields) != 15:
                self.faults.append(f"{path.name}: a torn line: {line!r}")
                continue
            if fields[0][:1] in b"BC":
                continue
            task, pid, code = int(fields[1]), int(fields[5]), int(fields[6])
            if task in codes:
                self.faults.append(f"{path.name}: task {task} has two lines")
            codes[task] = code
            if code == 0 and (task, pid) not in ended:
                self.faults.append(f"{path.name}: task {task} has a success that did not happen")
        begun = Counter(task for task, _ in self.journal("start"))
        for task in [task for task, code in codes.items() if code == 0]:
            if self._begun_at.setdefault(task, begun[task]) != begun[task]:
                self.faults.append(f"{path.name}: task {task} ran again after its line was written")
        return codes

    def settle(self, codes: dict[int, int]) -> None:
        """At the end: the last status file has a success of each task."""
        if missing := {task: codes.get(task) for task in self._tasks if codes.get(task) != 0}:
            self.faults.append(f"tasks without a success at the end: {missing}")
        if (self._bench.path / "twins").exists():
            twins = sorted(set(self._bench.read("twins").split()))
            self.faults.append(f"ran twice at the same time: {' '.join(twins)}")
        for path in [*self._bench.path.glob("*_driver.txt"), *self._bench.path.glob("*_engine.txt")]:
            if "Traceback" in path.read_text(errors="replace"):
                self.faults.append(f"{path.name}: a traceback")
