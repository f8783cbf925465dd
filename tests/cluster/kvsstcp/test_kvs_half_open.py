"""A cable is pulled: nobody is told, no packet comes. Both sides notice all the same, idle or in the middle of sending."""

import asyncio
import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from netbed import NetBed, why_no_hosts

from kvsstcp.infofile import Info, write_info
from kvsstcp.limits import Limits
from kvsstcp.server import Server
from kvsstcp.values import Value

pytestmark = pytest.mark.cluster

QUICK = Limits(keepalive_idle_s=1, keepalive_interval_s=1, silent_s=3, close_flush_s=0.5)
NOTICED_S = 20.0

CLIENT = """\
import asyncio, sys
from kvsstcp.aclient import AsyncClient
from kvsstcp.infofile import read_info
from kvsstcp.limits import Limits
from kvsstcp.values import Value
async def main():
    info = read_info(sys.argv[1])
    quick = Limits(keepalive_idle_s=1, keepalive_interval_s=1, silent_s=3)
    client = await AsyncClient.connect(info.addresses, limits=quick)
    waiting = asyncio.ensure_future(client.get(b"down"))
    print("waits", flush=True)
    while sys.argv[2] == "sending" and not client.lost.done():
        client.put(b"up", Value(b"ASTR", b"x" * 1000))
        await asyncio.wait([client.lost], timeout=0.1)
    reason = await asyncio.shield(client.lost)
    waiting.cancel()
    print(reason, flush=True)
asyncio.run(main())
"""


@pytest.fixture
def host() -> Iterator[NetBed]:
    if reason := why_no_hosts():
        pytest.skip(reason)
    made = NetBed(["nodea"])
    try:
        yield made
    finally:
        made.close()


async def _pull(bed: NetBed, folder: Path, how: str) -> tuple[str, str]:
    """What the server and the client, each on its side, say of the end."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    server = Server(limits=QUICK)
    server.local.on_lost(b"down", told.set_result)
    sock = socket.create_server((bed.driver_address, 0))
    write_info(folder / "info", Info((sock.getsockname(),)))
    await server.serve(sock)
    root = str(Path(__file__).parents[3])
    process = bed.start(
        "nodea",
        [sys.executable, "-c", CLIENT, str(folder / "info"), how],
        env={"PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    try:
        assert (await asyncio.to_thread(process.stdout.readline)) == "waits\n"
        async with asyncio.timeout(NOTICED_S):
            while not list(server.store.waiters()):
                await asyncio.sleep(0.01)
        bed.link("nodea", False)
        if how == "sending":
            # On the server's side something is under way, too, that nobody confirms.
            server.local.put(b"down", Value(b"ASTR", b"y" * 1000))
        async with asyncio.timeout(NOTICED_S):
            reason = await told
            seen = await asyncio.to_thread(process.stdout.readline)
        return reason, seen
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await server.close()


@pytest.mark.parametrize("how", ["idle", "sending"])
def test_a_vanished_peer_is_noticed_on_both_sides(host: NetBed, tmp_path: Path, how: str) -> None:
    server_says, client_says = asyncio.run(_pull(host, tmp_path, how))
    assert host.address("nodea") in server_says and "timed out" in server_says
    assert "timed out" in client_says
