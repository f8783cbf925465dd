"""The store without a socket, for the process in which the server runs: put, subscribe, learn who is gone.

What connections do is in `connection`; what the operations mean is in `store`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from kvsstcp.errors import UsageError
from kvsstcp.values import Value

if TYPE_CHECKING:
    from kvsstcp.server import Server


class Subscription:
    """A reader in the server's own process: gets every value of one key, one after the other."""

    __slots__ = ("_busy", "_callback", "_key", "_server", "active")

    def __init__(self, server: "Server", key: bytes, callback: Callable[[Value], None]):
        self._server = server
        self._key = key
        self._callback = callback
        self._busy = False
        self.active = True

    def start(self) -> None:
        """Take what is there, then wait."""
        value = self._server.store.get(self, self._key)
        if value is not None:
            self.deliver(value)

    def deliver(self, first: Value) -> None:
        """Call back for this value and for all that came meanwhile. The callback may use the store as it likes: while
        it runs this reader does not wait, so it is never entered twice."""
        value: Value | None = first
        while value is not None:
            try:
                self._callback(value)
            except Exception as error:
                # Our own process's mistake. The peer whose put led here has done nothing wrong and must not suffer.
                what = f"the subscriber of {self._key!r} failed on a value, which is lost"
                self._server.report_callback(what, error)
            value = self._server.store.get(self, self._key) if self.active else None


class LocalClient:
    """The store without a socket, for the process and thread in which the server's loop runs."""

    def __init__(self, server: "Server"):
        self._server = server
        self._store = server.store
        self._subscriptions: dict[bytes, Subscription] = {}
        self._watches: dict[bytes, Callable[[str], None]] = {}

    def put(self, key: bytes, value: Value) -> None:
        self._store.put(key, value)
        self._server.settle()

    def subscribe(self, key: bytes, callback: Callable[[Value], None]) -> None:
        """Consume every value of `key`, those that are there and those to come, in order. An exception of the callback
        goes to the loop's exception handler; the next value is delivered all the same. Raises UsageError when the key
        has a subscriber already."""
        if key in self._subscriptions:
            raise UsageError(f"the key {key!r} has a subscriber already")
        subscription = self._subscriptions[key] = Subscription(self._server, key, callback)
        subscription.start()
        self._server.settle()

    def unsubscribe(self, key: bytes) -> None:
        """The reverse. Values that come from now on stay in the store."""
        subscription = self._subscriptions.pop(key, None)
        if subscription is not None:
            subscription.active = False
            self._store.cancel(subscription)

    def on_lost(self, key: bytes, callback: Callable[[str], None] | None) -> None:
        """Learn of the end of the connection that reads `key`: `callback(reason)` is called whenever a connection ends
        whose last get or view asked for `key`, whether it still waited or not, and however it ended (closed in order,
        reset, cut off, or silent for `Limits.silent_s`). The reason is text with the peer's address, for logs.

        What that peer sent before its end has been carried out by then. One callback a key: a later one replaces it, None
        takes it away. It is not called for a connection that asked for another key since, for one that broke before it
        had asked for `key` (so let a peer ask first and speak then), for one that ended before this call, nor when the
        server itself closes. An exception of the callback goes to the loop's exception handler.
        """
        if callback is None:
            self._watches.pop(key, None)
        else:
            self._watches[key] = callback

    def tell_lost(self, key: bytes, reason: str) -> None:
        """For the server: a connection has ended that read `key`."""
        callback = self._watches.get(key)
        if callback is None:
            return
        try:
            callback(reason)
        except Exception as error:
            self._server.report_callback(f"the callback for the lost reader of {key!r} failed", error)

    def take(self, key: bytes) -> Value | None:
        """The oldest value, removed; None when there is none. Never waits."""
        value = self._store.take(key)
        self._server.settle()
        return value

    def replace(self, key: bytes, value: Value) -> None:
        """Make `value` the only one under `key`: what viewers see is always the newest, and nothing piles up."""
        self._store.drop(key)
        self.put(key, value)

    def drop(self, key: bytes) -> None:
        """Forget the stored values of `key`."""
        self._store.drop(key)
