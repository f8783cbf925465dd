"""Several hosts on one machine: each with its own address, host name and process ids, and one file system for all.

What runs on the hosts is none of this file's business: `sshbed` and `slurmbed` put their daemons there.

A host is a process that is the first of its own network, host name, mount and pid namespaces. The root namespace is
the driver's machine. All are plugged into a bridge, which has a network namespace of its own, so that nothing stays in
the root namespace but one end of a cable. No namespace has a name in /run/netns: a host, with all that runs on it, is
gone when its first process is, and that one dies with the process that made it, even when that one is killed.
"""

import contextlib
import functools
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from disbatch_runs import children, command_line, kill_all, wait_until

# An address for the driver's end of the cable and for each host. 198.18.0.0/15 is set aside for test benches
# (RFC 2544), so that no network that a machine really uses is hidden.
SUBNET = "198.18.%d.%d"
DRIVER_ADDRESS = 1
FIRST_HOST_ADDRESS = 11
# A host's path is what a login without any set-up gives: what is found only on the caller's path is not found there.
HOST_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# What daemons call the processes that they make for a session or a job step.
DAEMONS = ("sshd:", "slurmstepd:", "slurmd:")
DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL"]

# The first process of a host. /run is the host's own, as on a real machine (sshd wants a folder there). Bash, because
# it reaps what its host's processes leave behind.
HOST_INIT = """\
set -eu
hostname "$1"
mount --bind "$2" /etc/hosts
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -m 755 /run/sshd
ip link set lo up
touch "$3"
sleep infinity &
wait
"""

PROBE = """\
set -e
ip link add probe type bridge
ip link add one type veth peer name two
mount -t tmpfs tmpfs /run
hostname probe
"""


def missing_programs(*names: str) -> str | None:
    absent = [name for name in names if shutil.which(name, path=HOST_PATH) is None]
    return f"not installed: {', '.join(absent)} (scripts/test installs them)" if absent else None


@functools.cache
def why_no_hosts() -> str | None:
    """Why this machine cannot have such hosts, or None."""
    if os.geteuid() != 0:
        return "hosts in network namespaces need root"
    if absent := missing_programs("ip", "unshare", "nsenter", "setpriv"):
        return absent
    probe = subprocess.run(
        ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--mount-proc", "bash", "-c", PROBE],
        capture_output=True,
        text=True,
    )
    if probe.returncode:
        return f"network namespaces are not permitted here: {probe.stderr.strip()}"
    return None


def checked(
    argv: Sequence[str], *, stdin: str = "", cwd: str | Path | None = None, env: dict[str, str] | None = None
) -> str:
    """Runs a command that has to succeed; returns what it printed."""
    done = subprocess.run(argv, input=stdin, cwd=cwd, env=env, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(argv)} ended with {done.returncode}\n{stdin}{done.stderr}"
    return done.stdout


class NetBed:
    """Hosts, the bridge between them, and a folder of their own for whoever puts daemons on them.

    The folder is short, because sockets are put there, and open to all users, because not every daemon runs as root.
    """

    def __init__(self, hosts: Sequence[str]) -> None:
        self.hosts = tuple(hosts)
        self.path = Path(tempfile.mkdtemp(prefix="disbatch-bed-"))
        self.path.chmod(0o755)
        self._host_processes: dict[str, subprocess.Popen[bytes]] = {}
        self._first_pids: dict[str, int] = {}
        self._own: dict[str, set[int]] = {}
        self._started: list[subprocess.Popen[bytes]] = []
        self._bridge: subprocess.Popen[bytes] | None = None
        self._cable = ""
        self._subnet = -1
        try:
            self._start_bridge()
            for host in self.hosts:
                self._start_host(host)
        except BaseException:
            self.close()
            raise

    @property
    def driver_address(self) -> str:
        """Where hosts reach the root namespace."""
        return SUBNET % (self._subnet, DRIVER_ADDRESS)

    def address(self, host: str) -> str:
        return SUBNET % (self._subnet, FIRST_HOST_ADDRESS + self.hosts.index(host))

    def name_file(self, host: str) -> Path:
        """The host's /etc/hosts. Write to it in place: it is mounted there."""
        return self.path / f"{host}.hosts"

    def link(self, host: str, up: bool) -> None:
        """Plugs the host's cable in or pulls it: nothing comes through, and nobody is told."""
        self._ip(f"link set dev {host} {'up' if up else 'down'}")

    def crash(self, host: str) -> None:
        """The power cut: all that runs on the host is gone, and no connection is closed. The host does not come back."""
        self.link(host, False)
        os.kill(self._first_pids[host], signal.SIGKILL)
        self._host_processes[host].wait()

    def start(
        self,
        host: str,
        argv: Sequence[str],
        *,
        cwd: str | Path = "/",
        env: dict[str, str] | None = None,
        **more: object,
    ) -> subprocess.Popen[bytes]:
        """Starts a process on the host, not waited for. What of it still runs when the bed ends is killed.

        Killing the returned process is not killing what it started on the host.
        """
        enter = ["nsenter", "-t", str(self._first_pids[host]), "-n", "-u", "-m", "-p", "--"]
        process = subprocess.Popen(
            [*enter, "env", "-C", str(cwd), *argv],
            env=self.environment() | (env or {}),
            **({"stdin": subprocess.DEVNULL} | more),  # type: ignore[call-overload]
        )
        self._started.append(process)
        return process  # type: ignore[no-any-return]

    def exec(
        self,
        host: str,
        argv: Sequence[str],
        *,
        cwd: str | Path = "/",
        env: dict[str, str] | None = None,
        seconds: float = 30.0,
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command on the host to its end; its exit code is the caller's to judge."""
        process = self.start(
            host, argv, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        self._started.remove(process)
        return subprocess.CompletedProcess(list(argv), process.returncode, str(out), str(err))

    def pids(self, host: str) -> set[int]:
        """All processes of the host, as the root namespace numbers them."""
        namespace = f"/proc/{self._first_pids[host]}/ns/pid"
        found = set()
        with contextlib.suppress(OSError):
            wanted = os.readlink(namespace)
            for name in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError):
                    if os.readlink(f"/proc/{name}/ns/pid") == wanted:
                        found.add(int(name))
        return found

    def strays(self) -> list[int]:
        """What runs on the hosts and is neither the bed's nor part of a daemon (a session of sshd, a step of slurmd)."""
        found = [pid for host in self.hosts for pid in self.pids(host) - self._own[host]]
        return [pid for pid in found if (line := command_line(pid)) and not line.startswith(DAEMONS)]

    def settle(self, seconds: float = 10.0) -> None:
        """Returns when nothing but the bed's own runs on the hosts; else ends what is there, and raises with its names."""
        try:
            self.wait(lambda: not self.strays(), "nothing is left running on the hosts", seconds)
        except AssertionError as error:
            left = self.strays()
            error.add_note("\n".join(["left running on the hosts:", *map(command_line, left)]))
            kill_all(left)
            raise

    def _note_own(self) -> None:
        """To be called when all daemons are up: what runs now belongs to the bed."""
        self._own = {host: self.pids(host) for host in self.hosts}

    def environment(self) -> dict[str, str]:
        """What `start` and `exec` give a process: no Slurm, no run of disBatch, the path of a plain login."""
        kept = {
            k: v for k, v in os.environ.items() if not k.startswith(("SLURM", "DISBATCH", "KVSSTCP", "SSH_"))
        }
        return kept | {"PATH": HOST_PATH}

    def logs(self) -> str:
        return "\n".join(
            f"--- {path}\n{path.read_text(errors='replace')[-4000:]}"
            for path in sorted(self.path.glob("*.log"))
        )

    def wait(self, condition: Callable[[], object], what: str, seconds: float = 30.0) -> None:
        wait_until(condition, what, seconds=seconds, logs=self.logs)

    def close(self) -> None:
        """Takes everything down, however far the start came; raises when something is left."""
        if self._cable:
            subprocess.run(["ip", "link", "del", self._cable], capture_output=True)
        for host, process in self._host_processes.items():
            # The first process of a pid namespace takes all others with it, and is not gone before they are. After a
            # crash, its number may be another's.
            if process.poll() is None and host in self._first_pids:
                os.kill(self._first_pids[host], signal.SIGKILL)
            elif process.poll() is None:
                process.kill()
            process.wait()
        for process in [*self._started, *([self._bridge] if self._bridge else [])]:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout, process.stderr):
                if pipe is not None:
                    pipe.close()
        shutil.rmtree(self.path)
        assert not self._cable or not Path("/sys/class/net", self._cable).exists(), (
            f"{self._cable} is still there"
        )

    def _start_bridge(self) -> None:
        self._bridge = subprocess.Popen(
            [*DIE_WITH_PARENT, "unshare", "--net", "sleep", "infinity"],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        here = os.readlink("/proc/self/ns/net")
        there = f"/proc/{self._bridge.pid}/ns/net"
        wait_until(lambda: os.readlink(there) != here, "the bridge has its network namespace")
        self._ip("link add name bridge type bridge", "link set dev bridge up")
        self._claim_subnet()
        checked(["ip", "address", "add", f"{self.driver_address}/24", "dev", self._cable])
        checked(["ip", "link", "set", "dev", self._cable, "up"])
        self._ip("link set dev driver master bridge", "link set dev driver up")

    def _claim_subnet(self) -> None:
        """An interface's name is taken by one: with it goes the subnet, and two beds never meet."""
        assert self._bridge is not None
        first = os.getpid() % 256
        for number in (*range(first, 256), *range(first)):
            cable = f"disbatch{number}"
            made = subprocess.run(
                ["ip", "link", "add", "name", cable, "type", "veth"]
                + ["peer", "name", "driver", "netns", str(self._bridge.pid)],
                capture_output=True,
                text=True,
            )
            if made.returncode == 0:
                self._cable, self._subnet = cable, number
                return
            assert "File exists" in made.stderr, made.stderr
        raise AssertionError(
            "each of the 256 interfaces disbatch0 to disbatch255 exists: remove them by `ip link del`"
        )

    def _start_host(self, host: str) -> None:
        names = [f"{self.address(other)} {other}" for other in self.hosts if other != host]
        # A host's own name is a loopback address, as Debian's installer has it.
        self.name_file(host).write_text("\n".join(["127.0.0.1 localhost", f"127.0.1.1 {host}", *names, ""]))
        ready = self.path / f"{host}.ready"
        namespaces = ["--net", "--uts", "--mount", "--propagation", "slave", "--pid", "--mount-proc"]
        with open(self.path / f"{host}.log", "wb") as log:
            process = subprocess.Popen(
                [*DIE_WITH_PARENT, "unshare", *namespaces, "--fork", "--kill-child"]
                + ["bash", "-c", HOST_INIT, "host", host, str(self.name_file(host)), str(ready)],
                env=self.environment(),
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._host_processes[host] = process
        self.wait(lambda: ready.exists() or process.poll() is not None, f"the host {host} is up")
        assert process.poll() is None, f"the host {host} did not come up\n{self.logs()}"
        (self._first_pids[host],) = children(process.pid)
        self._ip(
            f"link add name {host} type veth peer name eth0 netns {self._first_pids[host]}",
            f"link set dev {host} master bridge",
            f"link set dev {host} up",
        )
        at_host = f"address add {self.address(host)}/24 dev eth0\nlink set dev eth0 up\n"
        checked(["nsenter", "-t", str(self._first_pids[host]), "-n", "ip", "-batch", "-"], stdin=at_host)

    def _ip(self, *commands: str) -> None:
        """Runs commands of ip where the bridge is."""
        assert self._bridge is not None
        batch = "\n".join([*commands, ""])
        checked(["nsenter", "-t", str(self._bridge.pid), "-n", "ip", "-batch", "-"], stdin=batch)
