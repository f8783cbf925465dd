"""How a program at a server elsewhere notices that disBatch has ended: by what it says at its end, or by its silence."""

import asyncio
import json
from typing import NamedTuple

from disbatch.api.program import Ended
from disbatch.runtime.results import ALIVE_S, alive_key
from kvsstcp.aclient import AsyncClient
from kvsstcp.errors import KvsError

LOOK_S = 1.0
SILENT_LOOKS = int(
    6 * ALIVE_S / LOOK_S
)  # without a word, after which nobody is there: some may get lost or come late


class RunEnded(NamedTuple):
    """What disBatch puts under the result key at its end. `exit_code` is None where it does not take tasks from here."""

    exit_code: int | None
    text: str


def read_end(data: bytes) -> RunEnded:
    """Return what the value says; what cannot be read says nothing."""
    try:
        found = json.loads(data)
        code, text = found["ExitCode"], found["Ending"]
    except (ValueError, TypeError, KeyError):
        return RunEnded(None, "it has said that it ends")
    return RunEnded(code if isinstance(code, int) else None, str(text))


class EndWatch:
    """Looks once a second. It has a connection of its own: old servers end one that asks for what they do not know."""

    def __init__(self, client: AsyncClient, result_key: bytes) -> None:
        self._client = client
        self._key = result_key
        self._alive_key = alive_key(result_key)

    async def prepare(self) -> None:
        """Forget what an earlier run has said. To be called before the program signs in. Raises KvsError."""
        for key in (self._key, self._alive_key):
            while await self._client.take(key) is not None:
                pass

    async def ended(self) -> Ended | None:
        """Wait for the end of disBatch. Return None where this cannot be known."""
        heard, silent = False, 0
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                value = await self._client.take(self._key)
                if value is not None:
                    return _in_words(read_end(value.data))
                beat = await self._client.take(self._alive_key)
                heard = heard or beat is not None
                # looks are counted, not seconds: this program itself may have been stopped
                silent = silent + 1 if beat is None else 0
                if heard and silent >= SILENT_LOOKS:
                    seconds = SILENT_LOOKS * LOOK_S
                    return Ended(None, "", f"nothing was heard of disBatch for {seconds:.0f} s: it has ended")
        except (KvsError, OSError):
            return None


def _in_words(end: RunEnded) -> Ended:
    if end.exit_code is None:
        return Ended(None, "", f"disBatch takes no tasks from this program: {end.text}")
    return Ended(end.exit_code, "", f"disBatch has ended with exit code {end.exit_code}: {end.text}")
