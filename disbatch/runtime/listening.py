"""Where the KVS of a run listens, and the addresses at which others find it. What is served there is not said here."""

import contextlib
import fcntl
import os
import socket
import struct
from dataclasses import dataclass

from disbatch.runtime.prepare import listen
from disbatch.runtime.settings import LOOPBACK
from kvsstcp.infofile import Address

EVERYWHERE = "0.0.0.0"
SIOCGIFADDR = 0x8915  # linux/sockios.h


@dataclass(frozen=True, slots=True)
class Listening:
    """A socket that listens, the addresses for processes on this machine (`near`), and those for all others."""

    sock: socket.socket
    near: tuple[Address, ...]
    addresses: tuple[Address, ...]


def listen_for_engines(address: Address | None, option: str = "--use-address") -> Listening:
    """Listen on every interface unless an address is given: machines may join a run at any time, from anywhere, and
    nobody gets in without the token. Raises UsageError that names the option."""
    if address is not None:
        sock = listen(address, option)
        bound = own_address(sock)
        return Listening(sock, (bound,), ((address[0], bound[1]),))
    sock = listen((EVERYWHERE, 0), option)
    port = own_address(sock)[1]
    return Listening(sock, ((LOOPBACK, port),), _candidates(port))


def near_first(addresses: tuple[Address, ...]) -> tuple[Address, ...]:
    """Return the addresses with those of loopback first: the quickest, and open in every firewall, where the server is on
    this machine. Only for a server that proves itself: at another one's port there may be anybody here."""
    return tuple(sorted(addresses, key=lambda address: address[0] != LOOPBACK))


def own_address(sock: socket.socket) -> Address:
    """Return the address and port that a socket is bound to."""
    host, port = sock.getsockname()[:2]
    return str(host), int(port)


def _candidates(port: int) -> tuple[Address, ...]:
    """Every address at which engines on other hosts might reach this one; they take the first that proves itself.

    Names come last: on many machines the own name resolves to loopback, or to nothing.
    """
    found: dict[Address, None] = {(host, port): None for host in _interface_hosts()}
    found[socket.gethostname(), port] = None
    found[LOOPBACK, port] = None
    return tuple(found)


def _interface_hosts() -> list[str]:
    """The IPv4 addresses of this machine but loopback (netdevice(7)). psutil knows them too, and takes 40 ms to import."""
    hosts = []
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, name in socket.if_nameindex():
            request = struct.pack("256s", os.fsencode(name)[:15])
            with contextlib.suppress(OSError):  # it has none
                host = socket.inet_ntoa(fcntl.ioctl(sock, SIOCGIFADDR, request)[20:24])
                if not host.startswith("127."):
                    hosts.append(host)
    return hosts
