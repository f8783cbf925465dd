"""How a viewer asks the run to stop an engine or a context softly: what runs there finishes, nothing new is started."""

from dataclasses import dataclass
from typing import Literal, Protocol

from disbatch.core.plural import counted

Kind = Literal["engine", "context"]


@dataclass(frozen=True, slots=True)
class Stop:
    """What is to be stopped: an engine by its rank, a context by its label; `shown` names it for people."""

    kind: Kind
    name: str
    shown: str
    busy: int  # tasks that run there now

    @property
    def question(self) -> str:
        tasks = {0: "Nothing runs there.", 1: "Its running task finishes."}
        what = tasks.get(self.busy, f"Its {counted(self.busy, 'running task')} finish.")
        return f"Stop {self.shown}? {what} It gets no new ones, and leaves."


class Stopper(Protocol):
    async def stop(self, stop: Stop) -> str:
        """Asks the run; returns its answer, in words for people. Raises MachineError when there is none."""
