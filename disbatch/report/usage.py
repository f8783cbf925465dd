"""The usage file of a run (`PREFIX_usage.txt`): CPU time and peak memory of each task, and what the nodes have.

Twelve fields or more, separated by TAB, a header first, remarks that begin with `#`. Later versions may append fields: the
thirteenth, PeakIs, came so. It is `<=` where the peak is only known not to be larger.
"""

from array import array
from collections.abc import Iterable

from disbatch.core.errors import StatusFileError

HEADER = (
    b"Kind\tTaskID\tRepeatIndex\tAttempt\tNode\tSlot\tCores\tReturnCode\tStart\tElapsed\tCPUSeconds\tPeakKiB"
)
FIELDS = 12
MAX_LINE = 1 << 20  # a line has figures and the name of a node
STATUS_ENDING, USAGE_ENDING = "_status.txt", "_usage.txt"


class UsageTable:
    """Columns over the tasks of one usage file; per-engine commands are left out."""

    def __init__(self) -> None:
        self.task, self.node, self.cores = array("q"), array("q"), array("q")
        self.elapsed, self.cpu = array("d"), array("d")
        self.peak = array("q")  # KiB
        self.vague_kib: dict[int, int] = {}  # by index of a node: the largest peak that is only a bound
        self.nodes: list[str] = []
        self.memory_kib: dict[str, int] = {}
        self._slots: dict[str, dict[str, int]] = {}  # node -> engine -> slots
        self._node_index: dict[bytes, int] = {}

    def __len__(self) -> int:
        return len(self.task)

    @property
    def slots(self) -> dict[str, int]:
        """By node: what its largest engine had. Where several worked at the same time, the times of tasks tell more."""
        return {name: max(engines.values()) for name, engines in self._slots.items()}

    @property
    def cores_per_slot(self) -> float:
        """On average, by time. 1 for a file without tasks."""
        whole = sum(self.elapsed)
        if whole <= 0:
            return float(max(self.cores, default=1))
        return sum(map(float.__mul__, self.elapsed, map(float, self.cores))) / whole

    def add(self, line: bytes, where: str) -> None:
        """Takes in one complete line behind the header. Raises StatusFileError for what is no line of usage."""
        if line.startswith(b"#"):
            if line.startswith(b"#node\t"):
                self._add_node(line)
            return
        fields = line.removesuffix(b"\r").split(b"\t", FIELDS + 1)
        try:
            if fields[0] != b"task":
                if fields[0] in (b"START", b"STOP"):
                    return
                raise ValueError("it begins with no kind of command")
            task, node, cores = int(fields[1]), fields[4], int(fields[6])
            elapsed, cpu, peak = float(fields[9]), float(fields[10]), int(fields[11])
            if not (0 <= elapsed < 1e11 and 0 <= cpu < 1e13 and 0 <= peak < 1 << 53 and 0 < cores < 1 << 31):
                raise ValueError("a number that cannot be")
        except (ValueError, IndexError) as error:
            raise StatusFileError(f"{where}: not a line of a usage file: {error}") from None
        index = self._node_index.get(node)
        if index is None:
            index = self._node_index[node] = len(self.nodes)
            self.nodes.append(node.decode("utf-8", "replace"))
        self.task.append(task)
        self.node.append(index)
        self.cores.append(cores)
        self.elapsed.append(elapsed)
        self.cpu.append(cpu)
        self.peak.append(peak)
        if fields[FIELDS : FIELDS + 1] == [b"<="] and peak > self.vague_kib.get(index, 0):
            self.vague_kib[index] = peak

    def _add_node(self, line: bytes) -> None:
        """`#node NAME RANK SLOTS CPUS MEMORYKIB LABEL`. A remark that reads otherwise is none of ours."""
        fields = line.decode("utf-8", "replace").split("\t")
        if len(fields) < 6 or not all(field.isdecimal() for field in fields[2:6]):
            return
        _, name, rank, slots, _, memory = fields[:6]
        self._slots.setdefault(name, {})[rank] = int(slots[:9])
        self.memory_kib[name] = int(memory[:15])


def usage_path(status_path: str) -> str | None:
    """Where the usage file of a run stands, None when the status file has a name of its own."""
    if not status_path.endswith(STATUS_ENDING):
        return None
    return status_path.removesuffix(STATUS_ENDING) + USAGE_ENDING


def read_usage(blocks: Iterable[bytes], path: str) -> UsageTable:
    """Reads a usage file from its blocks; a last line without an end is ignored.

    Raises StatusFileError for a file that is something else.
    """
    table, number, rest = UsageTable(), 0, b""
    for block in blocks:
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > MAX_LINE:
            raise StatusFileError(
                f"{path}, line {number + len(lines) + 1}: not a line of a usage file: it does not end"
            )
        for line in lines:
            number += 1
            if number > 1:
                table.add(line, f"{path}, line {number}")
            elif not (line.removesuffix(b"\r") + b"\t").startswith(HEADER + b"\t"):
                raise StatusFileError(f"{path}: not a usage file: its first line is no header")
    return table
