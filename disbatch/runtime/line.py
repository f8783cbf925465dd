"""An engine's way to its driver: finds it, finds it again, and knows when it is no use to go on."""

import asyncio
import contextlib
import logging
import os
import random
import time

from disbatch.core.errors import MachineError
from disbatch.runtime.shortage import shortage
from kvsstcp.aclient import AsyncClient
from kvsstcp.errors import ConnectionFailed, KvsError
from kvsstcp.infofile import Address, read_info

CONNECT_S = 30.0  # for the first connection
FIRST_AGAIN_S = (0.05, 0.2)  # before it is tried again
AGAIN_S = (0.05, 0.2, 0.5, 1.0, 2.0)  # between attempts; the last one goes on
REFUSED_S = 1.0  # a host that refuses for so long has no driver any more
PROBE_S = 2.0
GIVE_UP_LEASES = (
    2  # an engine whose tasks were killed at the end of the lease waits for another one, then it ends
)


class DriverLine:
    """`info_path` is given where a driver that dies may be followed by another: the file says where that one is."""

    def __init__(
        self,
        addresses: tuple[Address, ...],
        token: bytes | None,
        certificate: bytes | None,
        lease_s: float,
        log: logging.Logger,
        info_path: str | None = None,
    ) -> None:
        self._info_path = info_path
        self._addresses = addresses
        self._token = token
        self._certificate = certificate
        self._lease_s = lease_s
        self._log = log
        self._proven: Address | None = None  # where the driver was when we last had it
        self._refused_s = REFUSED_S

    def launcher_gone(self) -> None:
        """Whoever started this engine is gone: a host that now refuses the connection need not be asked twice."""
        self._refused_s = 0.0

    async def connect(self) -> AsyncClient:
        """A connection to the driver. Raises MachineError when there is no driver any more, KvsError when there never
        was one."""
        if self._proven is None:
            client = await self._first()
        else:
            client = await self._again()
        self._proven = client.peer_address
        return client

    async def _first(self) -> AsyncClient:
        """One that breaks while it begins is tried again, a few times. Raises ConnectionFailed."""
        end = time.monotonic() + CONNECT_S
        for pause_s in FIRST_AGAIN_S:
            try:
                return await self._try(end - time.monotonic())
            except ConnectionFailed as error:
                if time.monotonic() + pause_s >= end:
                    raise
                self._log.warning("%s; this is tried again", error)
                await asyncio.sleep(pause_s)
        return await self._try(end - time.monotonic())

    async def _try(self, seconds: float) -> AsyncClient:
        first = (self._proven,) if self._proven else ()
        return await AsyncClient.connect(
            (*first, *self._addresses),
            token=self._token,
            certificate_pem=self._certificate,
            timeout_s=seconds,
        )

    async def _again(self) -> AsyncClient:
        began = time.monotonic()
        refused_since = None
        for number in range(1_000_000):
            if self._info_path:
                await self._look_it_up(self._info_path)
            try:
                client = await self._try(min(CONNECT_S, max(1.0, self._lease_s / 4)))
            except KvsError as error:
                now = time.monotonic()
                if self._info_path or not await self._refused():
                    refused_since = None
                elif now - (refused_since := refused_since or now) >= self._refused_s:
                    raise MachineError("the driver is gone: its host refuses the connection") from None
                if now - began > GIVE_UP_LEASES * self._lease_s:
                    raise MachineError(f"the driver cannot be reached any more: {error}") from None
                await asyncio.sleep(AGAIN_S[min(number, len(AGAIN_S) - 1)] * random.uniform(0.8, 1.2))
            else:
                self._log.info("connected to the driver again after %.1f s", time.monotonic() - began)
                return client
        raise AssertionError("unreachable")

    async def _look_it_up(self, path: str) -> None:
        """Raises MachineError when the run is over."""
        try:
            # in a thread: the file system may hang, and the lease goes on
            info = await asyncio.to_thread(read_info, path)
        except RuntimeError as error:
            if not shortage(error):
                raise
            self._log.warning("cannot read %s now: %s", path, error)
            return
        except KvsError as error:
            if not os.path.lexists(path):
                raise MachineError("the driver is gone, and its run is over") from None
            self._log.warning("%s", error)  # of another moment: it is read again
            return
        if info.certificate_pem != self._certificate:
            self._log.info("another driver has taken the place of the one before")
            self._addresses, self._proven = info.addresses, None
            self._token, self._certificate = info.token, info.certificate_pem

    async def _refused(self) -> bool:
        """Whether the driver's host answers that nobody listens there."""
        assert self._proven is not None
        with contextlib.suppress(OSError):
            try:
                _, writer = await asyncio.wait_for(asyncio.open_connection(*self._proven), PROBE_S)
            except ConnectionRefusedError:
                return True
            writer.close()
        return False
