"""What the parts of a driver core share, and how the run as a whole is told what happens to its tasks and engines."""

from dataclasses import dataclass
from typing import Protocol

from disbatch.core.context import Context
from disbatch.core.dispatch import Dispatcher
from disbatch.core.failures import FailureGroups
from disbatch.core.fleet import Engine, Fleet
from disbatch.core.ledger import Ledger
from disbatch.core.messages import Held
from disbatch.core.recorder import Recorder
from disbatch.core.setup import EngineSetup
from disbatch.core.takeover import Takeover


class Run(Protocol):
    """What the run as a whole is told of its engines."""

    def task_failed(self) -> None: ...

    def limit_reached(self, context: Context) -> None:
        """As many tasks have ended in it as it may run."""

    @property
    def ending_or_done(self) -> bool:
        """Whether nothing more will be started."""


@dataclass(frozen=True, slots=True)
class Books:
    """What sessions and run share; one of each in a driver."""

    ledger: Ledger
    fleet: Fleet
    failures: FailureGroups
    setup: EngineSetup
    recorder: Recorder
    dispatcher: Dispatcher
    takeover: Takeover

    def give_back(self, engine: Engine, held: list[Held]) -> None:
        """Attempts that this engine will not finish, and that run nowhere: their tasks are READY again."""
        # the oldest has to stand first again, and each goes to the front
        for task_id, attempt in sorted(held, reverse=True):
            entry = self.ledger.current(task_id, attempt, engine.sid)
            if engine.held.get(task_id) == attempt:  # an answer that is late speaks of an older attempt
                del engine.held[task_id]
                engine.context.charged -= 1
                engine.recalled.pop(task_id, None)
                engine.kept.discard(task_id)
                engine.changed()
            if entry is not None:
                self.ledger.give_back(entry)
