"""What a person may ask of a run from inside its driver, as a web page does; each becomes an event of the core."""

from collections.abc import Callable

from disbatch.core.driver_events import Ending, Event, SignalCame
from disbatch.core.joining import Answer, StopKind


class Steering:
    """The calls return at once; what they lead to is told as any other happening of the run."""

    def __init__(self, happened: Callable[[Event], None], order: Callable[[StopKind, str], Answer]) -> None:
        self._happened = happened
        self._order = order

    def drain(self) -> None:
        """Nothing more is started; what runs is finished. As one interrupt from the keyboard does."""
        self._happened(SignalCame(Ending.SIGINT))

    def stop(self) -> None:
        """What runs is stopped, too. As SIGTERM does."""
        self._happened(SignalCame(Ending.SIGTERM))

    def stop_softly(self, kind: StopKind, name: str) -> Answer:
        """An engine (by its rank) or a context (by its label) finishes what it runs, and leaves."""
        return self._order(kind, name)
