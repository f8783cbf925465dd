"""From outside into a run: where it is, whether it still is, and orders to it.

For contexts that join, for viewers, and for `disbatch-ctl`.
"""

import asyncio
import os

from disbatch.core.errors import DisBatchError, MachineError, PeerError, UsageError
from disbatch.core.joining import Answer, Order, StopKind, decode_joining, encode_joining
from disbatch.core.printable import shell_word
from disbatch.runtime.bus import JSON, join_key
from disbatch.runtime.crashed import look
from disbatch.runtime.facts import RunFacts, run_key
from kvsstcp.aclient import AsyncClient
from kvsstcp.errors import KvsError, UntrustedFile
from kvsstcp.infofile import Info, read_info
from kvsstcp.values import Value

CONNECT_S = 15.0  # a driver that is there answers at once; a network that is slow gets some time
ANSWER_S = 30.0  # for an answer of a driver that may be busy
_ENDINGS = ("_kvsinfo.txt", "_dbUtil.sh", "_status.txt", "_driver.txt")


class RunOverError(DisBatchError):
    """The run has ended in order: there is nothing to join or to steer."""

    exit_code = 0


def run_prefix(argument: str) -> str:
    """The prefix of the run that is meant: given itself, or as the name of one of its files."""
    for ending in _ENDINGS:
        if argument.endswith(ending):
            return os.path.abspath(argument.removesuffix(ending))
    return os.path.abspath(argument)


def find_run(prefix: str) -> Info:
    """Where the run is. Raises RunOverError, UsageError when there never was one, MachineError."""
    path = prefix + "_kvsinfo.txt"
    if not os.path.lexists(path):
        if os.path.exists(prefix + "_status.txt"):
            raise RunOverError(f"the run {prefix} has ended; its status file is {prefix}_status.txt")
        raise UsageError(f"there is no run {prefix} (no {path})")
    try:
        return read_info(path)
    except KvsError as error:
        whose = isinstance(error.__cause__, PermissionError) and not isinstance(
            error.__cause__, UntrustedFile
        )
        hint = "; only the user who started the run can read it" if whose else ""
        raise MachineError(f"{error}{hint}") from None


def refuse_dead(prefix: str) -> None:
    """Raises MachineError when the driver of the run was on this machine and has died."""
    crashed = look(prefix)
    if crashed is not None and crashed.died_here:
        goes_on = f"disBatch -r {shell_word(prefix)}_status.txt … goes on from there"
        if crashed.reattach:
            goes_on = "the command that has started it goes on with its engines (--reattach)"
        raise MachineError(
            f"the driver of the run {prefix} is dead: process {crashed.pid} has ended without a word; {goes_on}"
        )


async def connect(prefix: str, seconds: float = CONNECT_S) -> AsyncClient:
    """A connection to the run. Raises as `find_run`, and MachineError when its driver is gone."""
    info = find_run(prefix)
    try:
        return await AsyncClient.connect(
            info.addresses, token=info.token, certificate_pem=info.certificate_pem, timeout_s=seconds
        )
    except (KvsError, OSError) as error:
        find_run(prefix)  # it may have ended meanwhile
        refuse_dead(prefix)
        raise MachineError(
            f"the run {prefix} cannot be reached: {error}. If its driver is gone, "
            f"disBatch -r {prefix}_status.txt goes on from there"
        ) from None


async def read_facts(client: AsyncClient, prefix: str) -> RunFacts:
    """What everybody who takes part has to know. Raises MachineError when nobody answers."""
    job_id = find_run(prefix).run_id
    try:
        value = await asyncio.wait_for(client.view(run_key(job_id)), ANSWER_S)
        return RunFacts.from_json(value.data)
    except (TimeoutError, KvsError) as error:
        why = str(error) or f"no answer within {ANSWER_S:.0f} s"
        raise MachineError(f"the run {prefix} does not say where its driver is: {why}") from None
    except (ValueError, TypeError) as error:
        raise MachineError(f"the run {prefix} is of another version of disBatch: {error}") from None


async def send_order(
    client: AsyncClient, facts: RunFacts, kind: StopKind, name: str, *, hard: bool = False
) -> Answer:
    """Ends an engine (by rank) or a context (by label). Raises MachineError when the driver does not answer."""
    reply_key = f"disBatch answer {os.urandom(8).hex()}"
    order = Order(kind, name, reply_key, hard)
    try:
        client.put(join_key(facts.did), Value(JSON, encode_joining(order)))
        value = await asyncio.wait_for(client.get(reply_key.encode()), ANSWER_S)
        answer = decode_joining(value.data)
    except (TimeoutError, KvsError, PeerError) as error:
        raise MachineError(f"the driver does not answer: {error or 'too busy, or gone'}") from None
    if not isinstance(answer, Answer):
        raise MachineError("the driver answers something else than was asked")
    return answer
