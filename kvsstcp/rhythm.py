"""How to wait for a client that sends a request in many small pieces. Pure: counts of bytes in, counts out.

Clients of old send a put and a get in nine pieces, and being woken for each costs the server more than the whole operation.
Where burst after burst had the same length there are two ways to wait for the next. Asleep: the kernel wakes us for no less
than all of it, which is the cheapest. Awake: we are woken by the first piece and look for the rest until it is there. Where
a core that sleeps is slow to wake, as on many virtual machines, that saves the client the time (a pair takes 0.7 of it)
and costs a tenth more; elsewhere it saves little and costs twice as much. So both are timed, and staying awake has to be worth it.

What is foreseen is a guess: who carries it out has to look after connections that the kernel might keep waiting, and tell
`missed`, and must not wait for the rest for ever.
"""

import time
from collections.abc import Callable

# Equal bursts before one is foreseen. Few, because being wrong costs no more than a moment.
_TRUST = 4
# The same after a wrong guess, so that a client that varies what it sends is seldom kept waiting.
_DISTRUST = 256
# The kernel's buffer has to hold a whole one, with room to spare.
_LONGEST_BYTES = 32_768
# Bursts that are timed together: some milliseconds, so that what else happens on the machine evens out.
_WINDOW = 64
# How much longer they take asleep than awake, at least, for staying awake.
_WORTH = 1.12
# So many windows the one way, then one the other way, to compare; twice as many each time that this changed nothing.
_PATIENCE = 2
_MOST_PATIENCE = 64


class Rhythm:
    """One connection's. `clock`: seconds."""

    __slots__ = (
        "_awake",
        "_before_s",
        "_burst",
        "_clock",
        "_equal",
        "_left",
        "_missed",
        "_patience",
        "_since",
        "_so_far",
        "_trial",
        "_windows",
        "awaited",
    )

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.awaited = 0
        """Bytes to look for, awake, once the first of them are there; 0: take what there is."""
        self._burst = 0
        self._so_far = 0
        self._equal = 0
        self._missed = False
        self._awake = False
        self._clock = clock
        self._left = 0  # bursts to the end of this window; 0: none has begun
        self._since = 0.0
        self._before_s = 0.0  # what the last window took that was no trial
        self._trial = False  # whether this one is the other way
        self._patience = _PATIENCE
        self._windows = _PATIENCE  # until the next trial

    def heard(self, count: int, whole: bool, crowded: bool = False) -> int:
        """These many bytes came. `whole`: they end with a request whose reply the peer will wait for. `crowded`: others
        have something at the same time, so that there is no sleep to be spared. Returns how many bytes to be woken for now;
        1 for any."""
        length = self._so_far + count
        if not whole:
            self._so_far = length
            self.awaited = 0
            return 1
        self._so_far = 0
        missed, self._missed = self._missed, False
        if length != self._burst:
            self._burst = length
            self._equal = -_DISTRUST if missed else min(self._equal, 0)
            self._left = self.awaited = 0
            return 1
        self._equal += 1
        if self._equal < _TRUST or length > _LONGEST_BYTES:
            return 1
        if self._left > 1:
            self._left -= 1
        else:
            self._compare(crowded)
        if self._awake:
            self.awaited = length
            return 1
        self.awaited = 0
        return length

    def missed(self) -> None:
        """Less came than was foreseen, and waited for us. That was a wrong guess, unless the rest is still to come."""
        self._missed = True

    def _compare(self, crowded: bool) -> None:
        """Between two windows: which way to wait in the next one."""
        now = self._clock()
        took_s, ended = now - self._since, self._left == 1
        self._since, self._left = now, _WINDOW
        if crowded:
            self._awake = self._trial = False
            self._windows = self._patience
            return
        if not ended:
            return
        if not self._trial:
            self._before_s = took_s
            self._windows -= 1
            if self._windows <= 0:
                self._trial = True
                self._awake = not self._awake
            return
        self._trial = False
        asleep_s, awake_s = (self._before_s, took_s) if self._awake else (took_s, self._before_s)
        worth = asleep_s > _WORTH * awake_s
        self._patience = _PATIENCE if worth == self._awake else min(2 * self._patience, _MOST_PATIENCE)
        self._windows = self._patience
        self._awake = worth
