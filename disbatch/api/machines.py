"""Machines that a program adds to its run: a process of `disbatch-ctl` for each, below the program."""

import asyncio
import logging
import signal
from collections.abc import Sequence

from disbatch.api.program import Program
from disbatch.importpath import arguments, bootstrap
from disbatch.runtime.remote import program_root

END_S = 10.0  # for contexts to notice that the run is over; then they are killed

log = logging.getLogger("disbatch")


class Machines:
    """Belongs to the thread of the session's loop. What is added before the run is known waits until it is."""

    def __init__(self) -> None:
        self._prefix: str | None = None
        self._waiting: list[Sequence[str]] = []
        self._contexts: set[Program] = set()
        self._closing = False
        self._gone: asyncio.Future[None] | None = None

    def descriptors(self) -> list[int]:
        """What a forked child has no use for."""
        return [fd for context in list(self._contexts) for fd in context.descriptors()]

    def add(self, options: Sequence[str]) -> None:
        """Start a context with these options."""
        if self._prefix is None:
            self._waiting.append(options)
        elif not self._closing:
            self._start(options)

    def found(self, prefix: str) -> None:
        """The run has begun, and its files have this prefix."""
        if self._prefix is None:
            self._prefix = prefix
            waiting, self._waiting = self._waiting, []
            for options in waiting:
                self.add(options)

    @property
    def known(self) -> bool:
        """Whether `found` was called."""
        return self._prefix is not None

    async def finish(self) -> None:
        """The run is over: wait until its contexts have noticed."""
        self._closing = True
        if not self._contexts:
            return
        self._gone = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait({self._gone}, timeout=END_S)
        if not done:
            for context in self._contexts:
                context.signal(signal.SIGKILL)
            await self._gone

    def _start(self, options: Sequence[str]) -> None:
        assert self._prefix is not None
        command = [*bootstrap("script"), *arguments(program_root()), self._prefix, *options]
        try:
            context = Program(command)
        except OSError as error:
            log.error("no machines can be added: %s", error)
            return
        self._contexts.add(context)
        loop = asyncio.get_running_loop()
        loop.add_reader(context.said.descriptor, self._said, context)
        loop.add_reader(context.pidfd, self._ended, context)

    def _said(self, context: Program) -> None:
        if not context.said.read():
            asyncio.get_running_loop().remove_reader(context.said.descriptor)

    def _ended(self, context: Program) -> None:
        loop = asyncio.get_running_loop()
        loop.remove_reader(context.said.descriptor)
        loop.remove_reader(context.pidfd)
        context.reap()
        self._contexts.discard(context)
        if self._gone is not None and not self._contexts and not self._gone.done():
            self._gone.set_result(None)
