"""A way to a port of this machine that can be cut and mended, as an ssh tunnel over a bad network."""

import contextlib
import socket
import threading
from types import TracebackType

CHUNK_BYTES = 65536


class Tunnel:
    """Listens on `port` and passes on what comes to another one. Use as a context manager."""

    def __init__(self, to: int | None) -> None:
        assert to is not None
        self._to = to
        self._open: set[socket.socket] = set()
        self._hung: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listen(0)
        self.port: int = self._listener.getsockname()[1]

    def cut(self) -> None:
        """Every connection breaks, and none can be made."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._accepting.join()
        with self._lock:
            ends, self._open = self._open, set()
        for end in ends:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def hang(self) -> None:
        """What is open now takes and brings nothing any more, and stays open; new connections are as ever."""
        with self._lock:
            self._hung |= self._open

    def mend(self) -> None:
        self._listen(self.port)

    def _listen(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port))
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), daemon=True)
        self._accepting.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near = listener.accept()[0]
            except OSError:  # it was cut
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._to))
            except OSError:  # nobody is there any more
                near.close()
                continue
            with self._lock:
                self._open |= {near, far}
            for one, other in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(one, other), daemon=True).start()

    def _pass_on(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(CHUNK_BYTES):
                if one not in self._hung:
                    other.sendall(data)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)
        one.close()

    def __enter__(self) -> "Tunnel":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.cut()
