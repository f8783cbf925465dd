"""The PERENGINE commands of a run: gathered from the head of the task list, handed to every engine once."""

from disbatch.core.messages import EngineCommand, ReportKind, Setup
from disbatch.core.model import PerEngine, PerEngineWhen

WHEN: dict[ReportKind, PerEngineWhen] = {"A": "START", "Z": "STOP"}


class EngineSetup:
    """Complete once the first task or barrier, or the end of the list, was read: until then more may come."""

    def __init__(self) -> None:
        self.ready: Setup | None = None
        self._commands: dict[PerEngineWhen, list[PerEngine]] = {"START": [], "STOP": []}

    @property
    def has_starts(self) -> bool:
        return bool(self._commands["START"])

    def add(self, command: PerEngine) -> None:
        self._commands[command.when].append(command)

    def complete(self) -> None:
        starts, stops = (
            tuple(EngineCommand(c.task_id, c.line_no, c.command) for c in self._commands[when])
            for when in ("START", "STOP")
        )
        self.ready = Setup(starts, stops)

    def command(self, kind: ReportKind, task_id: int) -> PerEngine | None:
        """The command that a report of this kind speaks of, None when there is no such command."""
        commands = self._commands[WHEN[kind]] if kind in WHEN else []
        return commands[task_id] if 0 <= task_id < len(commands) else None
