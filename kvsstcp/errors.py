"""Every error that this package raises, split by who must act. No behaviour belongs here.

UsageError: the caller asked for something that cannot be. ProtocolError: the peer broke a rule and is cut off.
MachineError: the network, the host or the file system did not do what was needed.
"""


class KvsError(Exception):
    """Root of all errors of this package."""


class UsageError(KvsError, ValueError):
    """The caller's mistake: a key that is too long, an address that is none, a damaged info file."""


class ProtocolError(KvsError):
    """The peer broke a rule of the protocol. The connection cannot go on."""


class UnknownOperation(ProtocolError):
    """Four bytes that name no operation."""


class BadNumber(ProtocolError):
    """A number field that is not ten characters of right-justified decimal."""


class TooLong(ProtocolError):
    """An announced length beyond the limit for it."""


class TooMuchInput(ProtocolError):
    """All unfinished requests together hold more memory than the server grants."""


class BadMonitor(ProtocolError):
    """A monitor request that is not KEY:EVENTS, or one monitor too many."""


class UnexpectedReply(ProtocolError):
    """The server sent something that nobody asked for."""


class TlsFailure(ProtocolError):
    """The peer does not speak TLS as we do, or shows another certificate than the pinned one."""


class ProofFailed(ProtocolError):
    """The peer could not prove that it knows the token."""


class NotProven(ProtocolError):
    """The peer wanted service, or left, or waited too long, before it had proven that it knows the token."""


class MachineError(KvsError):
    """The network, the host or the file system failed."""


class UntrustedFile(MachineError, PermissionError):
    """A file that somebody else may have written, or that is not what its name says. `strerror` is the reason, with the
    owner and what to do."""


class ConnectionFailed(MachineError, ConnectionError):
    """No server could be reached at any of the addresses; the message names each with its reason."""


class ConnectionLost(MachineError, ConnectionError):
    """The connection ended while it was needed."""


class DeadlinePassed(MachineError, TimeoutError):
    """What was waited for did not come in time."""
