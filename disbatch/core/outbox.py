"""The effects that a core has decided on in one event, in order, and short ways to speak to the user and the log."""

from collections.abc import Iterable

from disbatch.core.driver_events import Effect, Level, Note, Say


class Outbox:
    def __init__(self) -> None:
        self._effects: list[Effect] = []

    def add(self, effect: Effect) -> None:
        self._effects.append(effect)

    def extend(self, effects: Iterable[Effect]) -> None:
        self._effects.extend(effects)

    def say(self, text: str, *, level: Level = "note") -> None:
        """Tells the user, and the log."""
        self._effects.append(Say(text, level))

    def note(self, text: str) -> None:
        """For the log alone."""
        self._effects.append(Note(text))

    def take(self) -> list[Effect]:
        """All effects since the last call."""
        effects, self._effects = self._effects, []
        return effects
