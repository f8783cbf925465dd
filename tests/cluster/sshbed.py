"""Three hosts with a real sshd each, and an `ssh` that knows them.

Keys, known hosts, configuration and the sessions' HOME are in the bed's own folder; nothing of the user's or the
machine's is read.
"""

import os
import socket
from functools import partial
from pathlib import Path

from netbed import NetBed, checked, missing_programs, why_no_hosts

HOSTS = ("nodea", "nodeb", "nodec")

SSHD_CONFIG = """\
HostKey {path}/{host}.key
AuthorizedKeysFile {path}/user.key.pub
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
StrictModes no
UsePAM no
UseDNS no
PidFile none
PrintMotd no
LogLevel VERBOSE
SetEnv HOME={path}/home
"""

CLIENT_HOST = """\
Host {host} {host}.cluster
    HostName {address}
    HostKeyAlias {host}
"""

CLIENT_CONFIG = """\
Host *
    User root
    IdentityFile {path}/user.key
    IdentitiesOnly yes
    IdentityAgent none
    UserKnownHostsFile {path}/known_hosts
    GlobalKnownHostsFile /dev/null
    StrictHostKeyChecking yes
"""


def why_no_ssh() -> str | None:
    return why_no_hosts() or missing_programs("sshd", "ssh", "ssh-keygen")


class SshBed(NetBed):
    """`bin` first on the path makes `ssh nodea` (and `root@nodea`, `nodea.cluster`) work, here and on the hosts.

    `config` is the file that this ssh reads: the first entry for a host that sets an option wins, so a test's own
    entries go before what is there (`prepend_config`).
    """

    def __init__(self) -> None:
        super().__init__(HOSTS)
        try:
            self._write_files()
            for host in self.hosts:
                self._start_sshd(host)
            for host in self.hosts:
                self.wait(partial(self._answers, host), f"sshd of {host} answers")
            self._note_own()
        except BaseException:
            self.close()
            raise

    @property
    def bin(self) -> Path:
        return self.path / "bin"

    @property
    def config(self) -> Path:
        return self.path / "ssh_config"

    def search_path(self, before: str | None = None) -> str:
        """A PATH with the bed's ssh first; `before` is the path of the caller unless given."""
        return f"{self.bin}:{os.environ['PATH'] if before is None else before}"

    def environment(self) -> dict[str, str]:
        plain = super().environment()
        return plain | {"PATH": self.search_path(plain["PATH"])}

    def prepend_config(self, text: str) -> None:
        self.config.write_text(text + self.config.read_text())

    def _write_files(self) -> None:
        for name in ("user", *self.hosts):
            checked(
                [
                    "ssh-keygen",
                    "-q",
                    "-t",
                    "ed25519",
                    "-N",
                    "",
                    "-C",
                    name,
                    "-f",
                    str(self.path / f"{name}.key"),
                ]
            )
        known = [f"{host} {(self.path / f'{host}.key.pub').read_text()}" for host in self.hosts]
        (self.path / "known_hosts").write_text("".join(known))
        entries = [CLIENT_HOST.format(host=host, address=self.address(host)) for host in self.hosts]
        self.config.write_text("".join(entries) + CLIENT_CONFIG.format(path=self.path))
        (self.path / "home").mkdir()
        self.bin.mkdir()
        wrapper = Path(self.bin, "ssh")
        wrapper.write_text(f'#!/bin/sh\nexec /usr/bin/ssh -F {self.config} "$@"\n')
        wrapper.chmod(0o755)

    def _start_sshd(self, host: str) -> None:
        config = self.path / f"{host}.sshd_config"
        config.write_text(SSHD_CONFIG.format(path=self.path, host=host))
        with open(self.path / f"{host}.sshd.log", "wb") as log:
            # A session's path is sshd's own default: the bed's folder is not on it.
            self.start(host, ["/usr/sbin/sshd", "-D", "-e", "-f", str(config)], stdout=log, stderr=log)

    def _answers(self, host: str) -> bool:
        try:
            with socket.create_connection((self.address(host), 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False
