"""A Slurm of three nodes with 4 CPUs each: a slurmd on each of three hosts, munged and slurmctld on a fourth.

The hosts are those of `netbed`, so that each has its own name and address, 127.0.0.1 leads to no other, and two beds
share no port. Configuration, key, sockets, spool and logs are in the bed's own folder.

There is no accounting. Slurm then accepts one shrink of a job and refuses the next for more than a minute.
"""

import contextlib
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from netbed import NetBed, checked, missing_programs, why_no_hosts

HEAD = "head"
NODES = ("node1", "node2", "node3")
PROGRAMS = (
    "slurmctld",
    "slurmd",
    "sbatch",
    "salloc",
    "srun",
    "scontrol",
    "scancel",
    "squeue",
    "munged",
    "munge",
)
# Of the caller's own environment, what would reach into a job of this Slurm.
FOREIGN = ("SLURM", "SBATCH", "SALLOC", "SRUN", "SQUEUE", "SCANCEL", "DISBATCH", "KVSSTCP")
OVER = frozenset(
    {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL", "DEADLINE"}
)

SLURM_CONFIG = """\
ClusterName=disbatch
SlurmctldHost={head}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={path}/munge/socket
CredType=cred/munge
StateSaveLocation={path}/state
SlurmctldPidFile={path}/slurmctld.pid
SlurmctldLogFile={path}/slurmctld.log
SlurmdSpoolDir={path}/%n.spool
SlurmdPidFile={path}/%n.pid
SlurmdLogFile={path}/%n.slurmd.log
ProctrackType=proctrack/pgid
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
# Jobs start when they can, not at the next round of the scheduler.
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=2,bf_interval=1
ReturnToService=2
KillWait={kill_wait_s}
GresTypes=gpu
{nodes}
PartitionName=main Nodes=node[1-3] Default=YES MaxTime=INFINITE State=UP
"""

# Slurm divides GPUs and sets their variables whatever devices they are; these are second names of /dev/null.
GRES_CONFIG = """\
NodeName=node[1-3] Name=gpu File={path}/gpu[0-1]
"""

KILL_WAIT_S = 10


def why_no_slurm() -> str | None:
    if reason := why_no_hosts() or missing_programs(*PROGRAMS):
        return reason
    try:
        pwd.getpwnam("munge")
    except KeyError:
        return "there is no user munge, as whom munged runs"
    return None


class SlurmBed(NetBed):
    """`environ` is what a Slurm command needs: SLURM_CONF, and the caller's environment without its own Slurm job."""

    def __init__(self) -> None:
        super().__init__((HEAD, *NODES))
        try:
            self._start_munged()
            self._start_slurmctld()
            for node in NODES:
                self._daemon(node, "slurmd", "-D", "-N", node)
            self.wait_idle()
            self._note_own()
        except BaseException:
            self.close()
            raise

    @property
    def config(self) -> Path:
        return self.path / "slurm.conf"

    @property
    def environ(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return kept | {"SLURM_CONF": str(self.config)}

    def command(
        self, *argv: str, cwd: str | Path | None = None, seconds: float = 30.0
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a Slurm command here, on the driver's machine; its exit code is the caller's to judge."""
        return subprocess.run(
            argv, cwd=cwd, env=self.environ, capture_output=True, text=True, timeout=seconds
        )

    def sbatch(self, *arguments: str, script: str = "", cwd: str | Path) -> int:
        """Submits a job: `sbatch("-n", "5", "program", "argument", …)`, or with the text of a bash script. Returns its id.

        The job's output goes to slurm-ID.out in `cwd`.
        """
        text = script and "#!/bin/bash\n" + script
        argv = ["sbatch", "--parsable", *arguments]
        return int(checked(argv, stdin=text, cwd=cwd, env=self.environ).split(";")[0])

    def salloc(
        self, options: Sequence[str], command: Sequence[str], *, cwd: str | Path, seconds: float = 60.0
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a command here within an allocation, to its end."""
        return self.command("salloc", "--quiet", *options, *command, cwd=cwd, seconds=seconds)

    def job(self, job_id: int) -> dict[str, str]:
        """What `scontrol show job` says, by name; empty for a job that is not known."""
        done = self.command("scontrol", "--oneliner", "show", "job", str(job_id))
        return fields(done.stdout.splitlines()[0]) if done.returncode == 0 and done.stdout.strip() else {}

    def nodes_of(self, job_id: int) -> list[str]:
        return self.hostnames(self.job(job_id).get("NodeList", ""))

    def hostnames(self, node_list: str) -> list[str]:
        """The names that a node list such as `node[1,3]` stands for."""
        if node_list in ("", "(null)"):
            return []
        return self._said("scontrol", "show", "hostnames", node_list).split()

    def wait_job(
        self, job_id: int, states: str | Iterable[str] = OVER, seconds: float = 30.0
    ) -> dict[str, str]:
        """Returns the job when it is in one of the states (by default: over); fails at once when it is over in another."""
        wanted = {states} if isinstance(states, str) else set(states)

        def there() -> bool:
            state = self.job(job_id)["JobState"]
            assert state in wanted or state not in OVER, (
                f"job {job_id} is {state}\n{self.job(job_id)}\n{self.logs()}"
            )
            return state in wanted

        self.wait(there, f"job {job_id} is {' or '.join(sorted(wanted))}", seconds)
        return self.job(job_id)

    def ends_in(self, job_id: int, seconds: int) -> None:
        """Its time limit is moved; slurmctld refuses a time that has just passed, so at least a second ahead."""
        self._said("scontrol", "update", f"JobId={job_id}", f"EndTime=now+{seconds}")

    def cancel(self, job_id: int, *options: str) -> None:
        self._said("scancel", *options, str(job_id))

    def cancel_all(self, seconds: float = 30.0) -> None:
        """Ends every job, not gently, and returns when the nodes are free."""
        ids = self._said("squeue", "--noheader", "--format=%A").split()
        if ids:
            # KILL to the steps and the script first: a test's stubborn tasks would use up KillWait.
            for whom in (["--signal=KILL"], ["--signal=KILL", "--batch"], []):
                self.command("scancel", "--quiet", *whom, *ids)
        self.wait_idle(seconds)

    def wait_idle(self, seconds: float = 30.0) -> None:
        self.wait(lambda: set(self.node_states().values()) == {"idle"}, "all nodes are idle", seconds)

    def node_states(self) -> dict[str, str]:
        done = self.command("sinfo", "--noheader", "--Node", "--format=%N %T")
        return dict(line.split() for line in done.stdout.splitlines())

    def close(self) -> None:
        with contextlib.suppress(AssertionError, OSError, subprocess.TimeoutExpired):
            # salloc and srun of a test run here, outside the hosts: they end with their jobs.
            self.command("scancel", "--quiet", "--user=root", seconds=5.0)
        super().close()

    def _said(self, *argv: str) -> str:
        return checked(argv, env=self.environ)

    def _daemon(self, host: str, *argv: str) -> "subprocess.Popen[bytes]":
        with open(self.path / f"{host}.{argv[0]}.out.log", "wb") as log:
            return self.start(host, argv, env={"SLURM_CONF": str(self.config)}, stdout=log, stderr=log)

    def _start_munged(self) -> None:
        """As user munge, with all its files in a folder that only this user may change, as munged demands."""
        folder = self.path / "munge"
        folder.mkdir()
        key = folder / "key"
        key.write_bytes(os.urandom(128))
        for path, mode in ((folder, 0o755), (key, 0o400)):
            path.chmod(mode)
            shutil.chown(path, "munge", "munge")
        socket = f"--socket={folder / 'socket'}"
        files = [f"--{name}-file={folder / name}" for name in ("key", "log", "pid", "seed")]
        as_munge = ["setpriv", "--reuid", "munge", "--regid", "munge", "--clear-groups"]
        munged = self._daemon(HEAD, *as_munge, "munged", "--foreground", "--origin=127.0.0.1", socket, *files)
        self._answers(munged, "munge", "--no-input", socket)

    def _start_slurmctld(self) -> None:
        nodes = [
            f"NodeName={node} NodeAddr={self.address(node)} CPUs=4 RealMemory=2000 Gres=gpu:2"
            for node in NODES
        ]
        self.config.write_text(
            SLURM_CONFIG.format(
                path=self.path,
                head=HEAD,
                address=self.address(HEAD),
                kill_wait_s=KILL_WAIT_S,
                nodes="\n".join(nodes),
            )
        )
        (self.path / "gres.conf").write_text(GRES_CONFIG.format(path=self.path))
        for name in ("gpu0", "gpu1"):
            os.mknod(self.path / name, 0o600 | stat.S_IFCHR, device=os.stat("/dev/null").st_rdev)
        # -i: there is no state yet.
        self._answers(self._daemon(HEAD, "slurmctld", "-D", "-i"), "scontrol", "ping")

    def _answers(self, daemon: "subprocess.Popen[bytes]", *question: str) -> None:
        def ready() -> bool:
            assert daemon.poll() is None, f"{daemon.args!r} has ended with {daemon.returncode}\n{self.logs()}"
            return self.command(*question).returncode == 0

        self.wait(ready, f"`{shlex.join(question)}` succeeds")


def fields(line: str) -> dict[str, str]:
    """One line of `scontrol --oneliner`, by name. A value may contain blanks (Command=, Comment=), a name does not."""
    found: dict[str, str] = {}
    for match in re.finditer(r"(?:^|\s)([A-Za-z_:/]+)=(.*?)(?=\s+[A-Za-z_:/]+=|\s*$)", line):
        found.setdefault(match[1], match[2])
    return found
