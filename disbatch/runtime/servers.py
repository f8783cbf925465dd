"""Where the KVS of a run is: in the driver that is about to start, or at a server that runs already.

Both are there before engines are forked (so that these know the address) and opened after it (`open`).
"""

import logging
import socket
from typing import Protocol

from disbatch.core.errors import MachineError
from disbatch.runtime.certificate import CertificateMaker
from disbatch.runtime.descriptors import kvs_limits
from disbatch.runtime.files import RunFiles
from disbatch.runtime.folder import as_seen
from disbatch.runtime.kvs import CONNECT_S, EmbeddedKvs, ExternalKvs, Kvs
from disbatch.runtime.listening import listen_for_engines, near_first, own_address
from disbatch.runtime.prepare import listen
from disbatch.runtime.settings import RunSettings
from kvsstcp.auth import make_token
from kvsstcp.infofile import Address, Info, write_info


class ServerPlace(Protocol):
    """`addresses` and `token` are what engines need beside the certificate, which `open` returns; `near` is for those
    on this machine."""

    near: tuple[Address, ...]
    addresses: tuple[Address, ...]
    token: bytes | None
    warning: str

    def descriptors(self) -> tuple[int, ...]:
        """What a forked engine has to close."""

    def open(self, files: RunFiles, log: logging.Logger, words: tuple[str, ...]) -> tuple[Kvs, bytes]:
        """Writes the info file, `words` in it; returns the KVS and the certificate in PEM (empty when there is none)."""

    def environ(self, files: RunFiles) -> dict[str, str]:
        """What tells a feeding program where the KVS is."""


class OwnServer:
    """The driver serves. Its certificate is being made while everything else is prepared."""

    def __init__(self, settings: RunSettings, maker: CertificateMaker) -> None:
        self.token: bytes | None = make_token()
        self.warning = ""
        self._maker = maker
        self._limits = kvs_limits(settings.context, page=settings.web is not None)
        listening = listen_for_engines(settings.use_address)
        self._sock = listening.sock
        self.addresses: tuple[Address, ...] = listening.addresses
        self.near: tuple[Address, ...] = listening.near
        self._plain: socket.socket | None = None
        if settings.insecure_kvs is not None:
            self._plain = listen(settings.insecure_kvs, "--insecure-kvs")
            host, port = own_address(self._plain)
            self.warning = f"--insecure-kvs: whoever reaches {host}:{port} can read this run's tasks and run commands in it"

    def descriptors(self) -> tuple[int, ...]:
        return (self._sock.fileno(), *([self._plain.fileno()] if self._plain else []))

    def open(self, files: RunFiles, log: logging.Logger, words: tuple[str, ...]) -> tuple[Kvs, bytes]:
        certificate = self._maker.result()
        assert self.token is not None
        pem = certificate.certificate_pem
        write_info(files.kvsinfo, Info(self.addresses, self.token, files.job_id, pem), words)
        return EmbeddedKvs(self._sock, self.token, certificate, log, self._plain, self._limits), pem

    def environ(self, files: RunFiles) -> dict[str, str]:
        found = {"KVSSTCP_INFO": as_seen(files.kvsinfo)}
        if self._plain:
            host, port = own_address(self._plain)
            found |= {"KVSSTCP_HOST": host, "KVSSTCP_PORT": str(port)}
        return found


class OtherServer:
    """A server that runs already. Raises MachineError when it cannot be reached."""

    def __init__(self, info: Info) -> None:
        from kvsstcp.client import Client
        from kvsstcp.errors import KvsError

        self.addresses: tuple[Address, ...] = info.addresses
        # often on this machine: the server of a program that uses disBatch
        self.near: tuple[Address, ...] = near_first(info.addresses) if info.token else info.addresses
        self.token = info.token
        self.warning = ""
        self._info = info
        self._near_info = info._replace(addresses=self.near)
        try:
            with Client(self._near_info, connect_timeout_s=CONNECT_S):
                pass
        except (KvsError, OSError) as error:
            raise MachineError(f"the KVS server cannot be used: {error}") from None

    def descriptors(self) -> tuple[int, ...]:
        return ()

    def open(self, files: RunFiles, log: logging.Logger, words: tuple[str, ...]) -> tuple[Kvs, bytes]:
        write_info(files.kvsinfo, self._info._replace(run_id=files.job_id), words)
        return ExternalKvs(self._near_info, log), self._info.certificate_pem or b""

    def environ(self, files: RunFiles) -> dict[str, str]:
        found = {"KVSSTCP_INFO": as_seen(files.kvsinfo)}
        if self._info.token is None:
            found |= {"KVSSTCP_HOST": self._info.host, "KVSSTCP_PORT": str(self._info.port)}
        return found
