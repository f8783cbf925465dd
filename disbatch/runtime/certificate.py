"""The run's certificate, made in a process of its own while the driver does everything else that a start needs.

Importing what makes it takes longer than all else together (some 80 ms), and would stay in the driver's memory.
"""

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from disbatch.core.errors import MachineError
from disbatch.runtime.fatal import in_words

if TYPE_CHECKING:
    from kvsstcp.auth import Certificate

_BETWEEN = b"\0"  # stands in no PEM text
_WORDS_BYTES = 1_000  # of why there is none


class CertificateMaker:
    """Begins at once; `result` waits for it. To be made before any thread or event loop exists, and as early as that:
    while it works, the driver imports what a run needs."""

    def __init__(self) -> None:
        fd, write_end = os.pipe2(os.O_CLOEXEC)
        try:
            self._pid = os.fork()
        except OSError:
            os.close(fd)
            os.close(write_end)
            raise
        self._fd = fd
        if self._pid == 0:
            code = 1
            try:
                os.close(fd)
                with contextlib.suppress(OSError):
                    # the driver tells the user: libraries that cannot be loaded report that themselves, with a traceback
                    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                from kvsstcp.auth import make_certificate

                with open(write_end, "wb", closefd=False) as pipe:
                    pipe.write(_BETWEEN.join(make_certificate("disBatch")))
                code = 0
            except Exception as error:
                # The top of this process: the driver tells the user.
                os.write(write_end, in_words(error).encode("utf-8", "replace")[:_WORDS_BYTES])
            finally:
                os._exit(code)
        os.close(write_end)

    def result(self) -> "Certificate":
        """The certificate and its key; where the process has not made them, this one does. Raises MachineError when that is
        not possible either."""
        from kvsstcp.auth import Certificate, make_certificate

        parts = self._read().split(_BETWEEN)
        self._reap()
        if len(parts) == 2:
            return Certificate(*parts)
        words = parts[0].decode("utf-8", "replace")
        if not words:
            # it was killed, or cannot be heard
            try:
                return make_certificate("disBatch")
            except Exception as error:
                words = in_words(error)
        why = f": {words}" if words else "; is the package cryptography whole?"
        raise MachineError(f"the certificate of this run could not be made{why}")

    def _read(self) -> bytes:
        try:
            with open(self._fd, "rb", closefd=False) as pipe:
                return pipe.read()
        except OSError:
            return b""

    def close(self) -> None:
        """Ends the process if it still runs, and reaps it."""
        os.close(self._fd)
        if self._pid:
            with contextlib.suppress(OSError):
                os.kill(self._pid, signal.SIGKILL)
            self._reap()

    def _reap(self) -> None:
        if self._pid:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(self._pid, 0)
            self._pid = 0
