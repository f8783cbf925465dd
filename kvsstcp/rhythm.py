"""When to wake up for a client that sends a request in many small pieces. Pure: counts of bytes in, a count out.

Clients of old send a put and a get in nine pieces, and being woken costs the server more than the whole operation. Where
burst after burst had the same length, the kernel is asked to wake us for no less. That is a guess: who carries it out has
to look after connections that the kernel might keep waiting, and tell `missed`.
"""

# Equal bursts before one is foreseen. Few, because being wrong costs no more than a moment.
_TRUST = 4
# The same after a wrong guess, so that a client that varies what it sends is seldom kept waiting.
_DISTRUST = 256
# The kernel's buffer has to hold a whole one, with room to spare.
_LONGEST_BYTES = 32_768


class Rhythm:
    """One connection's."""

    __slots__ = ("_burst", "_equal", "_missed", "_so_far")

    def __init__(self) -> None:
        self._burst = 0
        self._so_far = 0
        self._equal = 0
        self._missed = False

    def heard(self, count: int, whole: bool) -> int:
        """These many bytes came. `whole`: they end with a request whose reply the peer will wait for. Returns how many
        bytes to wait for now; 1 for any."""
        length = self._so_far + count
        if not whole:
            self._so_far = length
            return 1
        self._so_far = 0
        missed, self._missed = self._missed, False
        if length != self._burst:
            self._burst = length
            self._equal = -_DISTRUST if missed else min(self._equal, 0)
            return 1
        self._equal += 1
        return length if self._equal >= _TRUST and length <= _LONGEST_BYTES else 1

    def missed(self) -> None:
        """Less came than was foreseen, and waited for us. That was a wrong guess, unless the rest is still to come."""
        self._missed = True
