"""A small key-value store over TCP: a key holds a queue of values, readers wait for what is not there yet.

Only names belong here. They are loaded when they are first used, so that a program which needs the client alone
does not pay for the server, for TLS or for making certificates.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kvsstcp.aclient import AsyncClient
    from kvsstcp.auth import Certificate, make_certificate, make_token
    from kvsstcp.client import Client
    from kvsstcp.errors import (
        ConnectionFailed,
        ConnectionLost,
        DeadlinePassed,
        KvsError,
        ProtocolError,
        UsageError,
    )
    from kvsstcp.infofile import Info, read_info, write_info
    from kvsstcp.limits import Limits
    from kvsstcp.local import LocalClient
    from kvsstcp.server import Server
    from kvsstcp.values import Value

_HOMES = {
    "AsyncClient": "aclient",
    "Certificate": "auth",
    "Client": "client",
    "ConnectionFailed": "errors",
    "ConnectionLost": "errors",
    "DeadlinePassed": "errors",
    "Info": "infofile",
    "KvsError": "errors",
    "Limits": "limits",
    "LocalClient": "local",
    "ProtocolError": "errors",
    "Server": "server",
    "UsageError": "errors",
    "Value": "values",
    "make_certificate": "auth",
    "make_token": "auth",
    "read_info": "infofile",
    "write_info": "infofile",
}

__all__ = [
    "AsyncClient",
    "Certificate",
    "Client",
    "ConnectionFailed",
    "ConnectionLost",
    "DeadlinePassed",
    "Info",
    "KvsError",
    "Limits",
    "LocalClient",
    "ProtocolError",
    "Server",
    "UsageError",
    "Value",
    "make_certificate",
    "make_token",
    "read_info",
    "write_info",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)
