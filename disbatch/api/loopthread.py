"""An event loop in a thread of its own, beside a program that knows nothing of asyncio."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Event, Thread, current_thread
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs from the constructor to `stop`. The thread is a daemon: it keeps no interpreter from ending.

    `failed` is called in it when something would end it otherwise, such as `sys.exit` in a callback of the program. The
    thread goes on after that, so that what it has begun can be ended in order.
    """

    def __init__(self, name: str, failed: Callable[[BaseException], None]) -> None:
        self.loop = asyncio.new_event_loop()
        self._failed = failed
        self._over = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # too many of them
            self.loop.close()
            raise

    @property
    def inside(self) -> bool:
        """Whether the caller is this thread, which must never wait for itself."""
        return current_thread() is self._thread

    def call(self, function: Callable[..., object], *arguments: object) -> None:
        """Has the function called there, soon; nothing happens when the thread has ended."""
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return  # the loop is closed

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs the coroutine there and waits for what it returns or raises."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def stop(self) -> None:
        """Ends the thread, from within or from outside."""
        self.call(self.loop.stop)

    def join(self) -> None:
        """Waits for the end of the thread."""
        # Before Python 3.13 an interrupted Thread.join takes the thread for dead: the next one would not wait
        self._over.wait()
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            while not self._served():
                pass
            rest = asyncio.all_tasks(self.loop)
            for task in rest:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        finally:
            self.loop.close()
            self._over.set()

    def _served(self) -> bool:
        """Runs the loop; returns False when it was left by an exception."""
        try:
            self.loop.run_forever()
        except BaseException as error:
            self._failed(error)
            return False
        return True
