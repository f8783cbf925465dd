"""How a viewer outside the driver gets its snapshots: with the run's info file it connects to the KVS, and asks."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

from disbatch.core.errors import MachineError, PeerError
from disbatch.core.snapshot import LIVE_KEY, VIEWER_KEY, RunSnapshot, read_snapshot
from kvsstcp.aclient import AsyncClient
from kvsstcp.errors import ConnectionFailed, ConnectionLost, KvsError
from kvsstcp.infofile import Info, read_info
from kvsstcp.values import Value

CONNECT_S = 10.0  # for a host far away; a driver that is well answers at once
ASK_AGAIN_S = 4.0  # who has not asked for ten seconds is shown nothing more (runtime.publish)
RETRY_S = 1.0  # before a lost connection is tried again; twice as long each time
RETRY_MAX_S = 10.0
_MARK = Value(b"ASTR", b"look")


class RunOverError(MachineError):
    """There was such a run, and it is over."""


def load_info(path: str) -> Info:
    """Raises RunOverError when the file is gone, MachineError when it cannot be read."""
    try:
        return read_info(path)
    except KvsError as error:
        if not os.path.lexists(path):
            raise RunOverError(f"the run is over: {path} is gone") from None
        raise MachineError(str(error)) from None


class Looker:
    """One connection to a run. Made by `connect`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._asked_s = -ASK_AGAIN_S

    @classmethod
    async def connect(cls, info: Info) -> "Looker":
        """Raises MachineError when nobody answers, or the answer is no."""
        try:
            client = await AsyncClient.connect(
                info.addresses,
                token=info.token,
                certificate_pem=info.certificate_pem,
                timeout_s=CONNECT_S,
            )
        except (ConnectionFailed, OSError) as error:
            raise MachineError(f"the run does not answer: {error}") from None
        except KvsError as error:
            raise MachineError(f"cannot look at the run: {error}") from None
        return cls(client)

    async def look(self) -> RunSnapshot:
        """The next snapshot with all rows. Raises MachineError when the connection ends before."""
        # First wait, then ask: so the answer cannot come before there is somebody to take it.
        waiting = asyncio.ensure_future(self._client.view(LIVE_KEY))
        try:
            while not waiting.done():
                await asyncio.sleep(0)
                wait_s = self._asked_s + ASK_AGAIN_S - time.monotonic()
                if wait_s <= 0:
                    self._client.put(VIEWER_KEY, _MARK)
                    self._asked_s = time.monotonic()
                    wait_s = ASK_AGAIN_S
                await asyncio.wait([waiting], timeout=wait_s)
            return read_snapshot(waiting.result().data)
        except (ConnectionLost, OSError) as error:
            raise MachineError(f"the connection to the run is gone: {error}") from None
        except PeerError as error:
            raise MachineError(str(error)) from None
        finally:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)

    async def close(self) -> None:
        self._client.abort()


@dataclass(frozen=True, slots=True)
class Seen:
    snapshot: RunSnapshot


@dataclass(frozen=True, slots=True)
class Trouble:
    """Nothing can be seen at the moment; it is tried again."""

    text: str
    again_s: float


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over, and its last figures were not seen."""

    text: str


News = Seen | Trouble | Ended


async def watch(path: str) -> AsyncIterator[News]:
    """What can be seen of the run with this info file, as it comes, until it is over."""
    pause_s = RETRY_S
    while True:
        looker: Looker | None = None
        try:
            looker = await Looker.connect(load_info(path))
            while True:
                snapshot = await looker.look()
                pause_s = RETRY_S
                yield Seen(snapshot)
                if snapshot.over:
                    return
        except RunOverError as error:
            yield Ended(str(error))
            return
        except MachineError as error:
            yield Trouble(str(error), pause_s)
        finally:
            if looker is not None:
                await looker.close()
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, RETRY_MAX_S)
