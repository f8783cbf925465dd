"""When to wake up for a client that sends a request in many small pieces. Pure: counts of bytes in, a count out.

Clients of old send a put and a get in nine pieces, and being woken costs the server more than the whole operation. Where
burst after burst had the same length, the kernel is asked to wake us for no less. That is a guess: who carries it out has
to look after connections that the kernel might keep waiting, and tell `missed`.

Where waking takes as long as a client needs for the rest of its pieces, we ask to be woken at the first of them, and find
them all: with one client a pair takes 0.9 of the time. Where it is quicker, this fails and is seldom tried.
"""

# Equal bursts before one is foreseen. Few, because being wrong costs no more than a moment.
_TRUST = 4
# The same after a wrong guess, so that a client that varies what it sends is seldom kept waiting.
_DISTRUST = 256
# The part of a burst that is waited for where the rest comes by the time that we are awake.
_EARLY = 8
# Being too early once in so many times costs less than it gains.
_STREAK = 8
# Where it is oftener we wait for whole bursts, so many times, and twice as many when that happens again.
_PATIENCE = 16
_MOST_PATIENCE = 1_024
# The kernel's buffer has to hold a whole one, with room to spare.
_LONGEST_BYTES = 32_768


class Rhythm:
    """One connection's."""

    __slots__ = ("_burst", "_early", "_equal", "_missed", "_patience", "_so_far", "_streak", "_wholes")

    def __init__(self) -> None:
        self._burst = 0
        self._so_far = 0
        self._equal = 0
        self._missed = False
        self._early = False  # whether we asked to be woken before the burst is whole
        self._streak = 0  # bursts that were whole all the same, since one was not
        self._wholes = 0  # bursts to be waited for as a whole
        self._patience = _PATIENCE

    def heard(self, count: int, whole: bool) -> int:
        """These many bytes came. `whole`: they end with a request whose reply the peer will wait for. Returns how many
        bytes to wait for now; 1 for any."""
        length = self._so_far + count
        early, self._early = self._early, False
        if not whole:
            self._so_far = length
            if early and not self._missed:
                self._too_early()
            return 1
        self._so_far = 0
        missed, self._missed = self._missed, False
        if length != self._burst:
            self._burst = length
            self._equal = -_DISTRUST if missed else min(self._equal, 0)
            return 1
        self._equal += 1
        if self._equal < _TRUST or length > _LONGEST_BYTES:
            return 1
        if self._wholes:
            self._wholes -= 1
            return length
        self._streak += early
        self._early = True
        return max(1, length // _EARLY)

    def missed(self) -> None:
        """Less came than was foreseen, and waited for us. That was a wrong guess, unless the rest is still to come."""
        self._missed = True

    def _too_early(self) -> None:
        if self._streak >= _STREAK:
            self._patience = _PATIENCE
        else:
            self._wholes = self._patience
            self._patience = min(2 * self._patience, _MOST_PATIENCE)
        self._streak = 0
