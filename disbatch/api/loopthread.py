"""An event loop in a thread of its own, beside a program that knows nothing of asyncio."""

import asyncio
from collections.abc import Callable, Coroutine
from threading import Event, Thread, current_thread
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs from the constructor to `stop`. The thread is a daemon: it keeps no interpreter from ending."""

    def __init__(self, name: str) -> None:
        self.loop = asyncio.new_event_loop()
        self._over = Event()
        self._thread = Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

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
            self.loop.run_forever()
            rest = asyncio.all_tasks(self.loop)
            for task in rest:
                task.cancel()
            self.loop.run_until_complete(asyncio.gather(*rest, return_exceptions=True))
        finally:
            self.loop.close()
            self._over.set()
