"""The beds themselves: what the other cluster tests build upon is there, and nothing stays behind."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from netbed import NetBed
from slurmbed import SlurmBed, fields
from sshbed import SshBed, why_no_ssh

pytestmark = pytest.mark.cluster

CONNECT = """\
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=float(sys.argv[3])) as c:
        print(c.getsockname()[0], c.recv(100).decode())
except OSError as error:
    print(type(error).__name__, error)
"""


def ssh(bed: SshBed, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Runs `ssh` as a program does that has the bed's folder first on its path."""
    env = os.environ | {"PATH": bed.search_path()}
    return subprocess.run(["ssh", *arguments], env=env, capture_output=True, text=True, timeout=30)


def connect(bed: NetBed, host: str, address: str, port: int, seconds: float = 10.0) -> str:
    """What a host hears at an address, or how it fails."""
    done = bed.exec(host, [sys.executable, "-c", CONNECT, address, str(port), str(seconds)])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def output(job_id: int, folder: Path) -> list[str]:
    return (folder / f"slurm-{job_id}.out").read_text().splitlines()


# ---- ssh


@pytest.mark.parametrize("destination", ["nodea", "root@nodeb", "nodec.cluster"])
def test_ssh_reaches_a_host_by_each_form_of_its_name(ssh_bed: SshBed, destination: str) -> None:
    done = ssh(ssh_bed, destination, 'hostname; echo "${SSH_CONNECTION%% *}"')
    host = destination.removeprefix("root@").removesuffix(".cluster")
    assert done.stdout.splitlines() == [host, ssh_bed.driver_address], done.stderr + ssh_bed.logs()


def test_a_host_sees_the_files_and_the_interpreter_of_the_driver(ssh_bed: SshBed, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("shared")
    code = "import os, sys; print(open('here').read(), sys.prefix, os.getpid() < 1000); open('there', 'w')"
    done = ssh(ssh_bed, "nodea", f'cd {tmp_path} && {sys.executable} -c "{code}"')
    assert done.stdout.split() == ["shared", sys.prefix, "True"], done.stderr
    assert (tmp_path / "there").exists()


def test_hosts_reach_each_other_and_the_driver_but_not_by_loopback(ssh_bed: SshBed) -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        at_work = ssh_bed.start(
            "nodea",
            [sys.executable, "-c", CONNECT, ssh_bed.driver_address, str(port), "10"],
            stdout=subprocess.PIPE,
        )
        server.settimeout(10)
        connection, (peer, _) = server.accept()
        with connection:
            connection.sendall(b"hello")
        assert peer == ssh_bed.address("nodea")
        assert at_work.communicate(timeout=10)[0].split()[1] == b"hello"
        assert connect(ssh_bed, "nodea", "127.0.0.1", port).startswith("ConnectionRefusedError")
    assert "SSH-2.0" in connect(ssh_bed, "nodea", ssh_bed.address("nodeb"), 22)
    between = ssh_bed.exec("nodeb", ["ssh", "nodec", 'hostname; echo "${SSH_CONNECTION%% *}"'])
    assert between.stdout.split() == ["nodec", ssh_bed.address("nodeb")], between.stderr


def test_a_pulled_cable_is_a_partition(ssh_bed: SshBed) -> None:
    ssh_bed.link("nodea", False)
    for reach, host in (("nodea", "nodeb"), ("nodeb", "nodea")):
        said = connect(ssh_bed, host, ssh_bed.address(reach), 22, seconds=0.5)
        assert said.startswith(("TimeoutError", "OSError")), said
    assert "timed out" in ssh(ssh_bed, "-o", "ConnectTimeout=1", "nodea", "hostname").stderr
    assert "SSH-2.0" in connect(ssh_bed, "nodeb", ssh_bed.address("nodec"), 22)
    ssh_bed.link("nodea", True)
    assert ssh(ssh_bed, "nodea", "hostname").stdout == "nodea\n"


def test_a_connection_outlives_a_short_partition_and_not_a_crash(ssh_bed: SshBed) -> None:
    with socket.create_connection((ssh_bed.address("nodea"), 22), timeout=10) as connection:
        ssh_bed.link("nodea", False)
        ssh_bed.link("nodea", True)
        assert connection.recv(4) == b"SSH-"
    ssh_bed.crash("nodea")
    assert not ssh_bed.pids("nodea")
    assert ssh(ssh_bed, "-o", "ConnectTimeout=1", "nodea", "true").returncode == 255


def test_an_unknown_host_and_a_refused_key_fail(ssh_bed: SshBed) -> None:
    unknown = ssh(ssh_bed, "no-such-host.invalid", "true")
    assert unknown.returncode == 255
    assert "resolve" in unknown.stderr
    ssh_bed.prepend_config("Host nodeb\n    PubkeyAuthentication no\n")
    refused = ssh(ssh_bed, "nodeb", "true")
    assert refused.returncode == 255
    assert "Permission denied" in refused.stderr


def test_names_are_as_a_test_wants_them(ssh_bed: SshBed) -> None:
    names = ssh_bed.name_file("nodea")
    names.write_text(names.read_text() + "127.0.0.1 the-driver\n")
    assert ssh_bed.exec("nodea", ["getent", "hosts", "the-driver"]).stdout.split() == [
        "127.0.0.1",
        "the-driver",
    ]
    assert "the-driver" not in Path("/etc/hosts").read_text()


def test_what_a_test_leaves_on_a_host_is_found_and_ended(ssh_bed: SshBed) -> None:
    ssh(ssh_bed, "nodea", "setsid sleep 1000 >/dev/null 2>&1 </dev/null &")
    with pytest.raises(AssertionError) as caught:
        ssh_bed.settle(seconds=0.2)
    assert "sleep 1000" in "\n".join(caught.value.__notes__)
    ssh_bed.settle()


def test_a_bed_leaves_nothing_behind_even_after_a_failure() -> None:
    if reason := why_no_ssh():
        pytest.skip(reason)

    class Failing(SshBed):
        def _start_sshd(self, host: str) -> None:
            self.before = self.path, self._cable, list(self._first_pids.values())
            failed.append(self)
            raise RuntimeError("no sshd")

    failed: list[Failing] = []
    with pytest.raises(RuntimeError, match="no sshd"):
        Failing()
    path, cable, pids = failed[0].before
    assert len(pids) == 3
    assert not path.exists()
    assert not Path("/sys/class/net", cable).exists()
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_two_beds_at_a_time_do_not_meet(ssh_bed: SshBed) -> None:
    other = NetBed(["nodea"])
    try:
        assert other.address("nodea") != ssh_bed.address("nodea")
        assert connect(other, "nodea", ssh_bed.address("nodea"), 22, seconds=0.5).startswith("OSError")
    finally:
        other.close()


# ---- Slurm


def test_a_batch_job_runs_on_two_nodes(slurm: SlurmBed, tmp_path: Path) -> None:
    job = slurm.sbatch("-N2", script="srun bash -c 'echo $SLURMD_NODENAME $(hostname)'", cwd=tmp_path)
    assert slurm.wait_job(job)["JobState"] == "COMPLETED"
    assert sorted(output(job, tmp_path)) == ["node1 node1", "node2 node2"]


def test_uneven_nodes(slurm: SlurmBed, tmp_path: Path) -> None:
    script = "echo $SLURM_TASKS_PER_NODE $SLURM_JOB_NODELIST; srun -n$SLURM_NTASKS hostname | sort | uniq -c"
    packed = slurm.sbatch("-n5", "-N2", script=script, cwd=tmp_path)
    slurm.wait_job(packed)
    assert " ".join(output(packed, tmp_path)).split() == ["4,1", "node[1-2]", "4", "node1", "1", "node2"]
    by_node = slurm.sbatch("-n5", "--ntasks-per-node=3", script=script, cwd=tmp_path)
    slurm.wait_job(by_node)
    # Slurm names six here, and refuses to run five of them.
    assert output(by_node, tmp_path)[0] == "3(x2) node[1-2]"
    one_each = slurm.sbatch("-n3", "-c3", script=script, cwd=tmp_path)
    slurm.wait_job(one_each)
    assert output(one_each, tmp_path)[0] == "1(x3) node[1-3]"


def test_salloc_runs_its_command_here(slurm: SlurmBed, tmp_path: Path) -> None:
    done = slurm.salloc(
        ["-n5", "-N2"], ["bash", "-c", "hostname; pwd; srun -l -n5 hostname | sort"], cwd=tmp_path
    )
    assert done.stdout.splitlines() == [
        socket.gethostname(), str(tmp_path), *(f"{n}: node{1 + (n > 3)}" for n in range(5))
    ], done.stderr  # fmt: skip


def test_an_engine_can_be_launched_beside_the_steps_of_a_job(slurm: SlurmBed, tmp_path: Path) -> None:
    """The form of launch that the contexts use, twice at once on a node that the job has filled."""
    launch = "srun --quiet --export=ALL --overlap --mem=0 --cpu-bind=none -N1 -n1 -w"
    script = f"{launch} node2 sh -c 'echo $SLURMD_NODENAME; {launch} node2 hostname' </dev/null 2>/dev/null"
    job = slurm.sbatch(
        "-N2", "-n8", script=f"sleep 1000 & srun -n8 sleep 1000 & {script}; kill %1 %2", cwd=tmp_path
    )
    slurm.wait_job(job)
    assert output(job, tmp_path)[:2] == ["node2", "node2"]


def test_nodes_and_the_driver_reach_each_other(slurm: SlurmBed) -> None:
    with socket.create_server((slurm.driver_address, 0)) as server:
        server.settimeout(10)
        port = server.getsockname()[1]
        at_work = slurm.start(
            "node3",
            [sys.executable, "-c", CONNECT, slurm.driver_address, str(port), "10"],
            stdout=subprocess.DEVNULL,
        )
        connection, (peer, _) = server.accept()
        connection.close()
        assert peer == slurm.address("node3")
        at_work.wait(timeout=10)


def test_hostnames_of_a_node_list(slurm: SlurmBed) -> None:
    assert slurm.hostnames("node[1,3]") == ["node1", "node3"]
    assert slurm.hostnames("(null)") == []


def test_a_job_gives_a_node_back(slurm: SlurmBed, tmp_path: Path) -> None:
    job = slurm.sbatch("-N3", script="sleep 1000", cwd=tmp_path)
    slurm.wait_job(job, "RUNNING")
    assert slurm.nodes_of(job) == ["node1", "node2", "node3"]
    done = slurm.command("scontrol", "update", f"JobId={job}", "NodeList=node1,node3", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    slurm.wait(lambda: slurm.nodes_of(job) == ["node1", "node3"], "the job has shrunk")
    slurm.wait(lambda: slurm.node_states()["node2"] == "idle", "node2 is free")
    assert slurm.job(job)["JobState"] == "RUNNING"
    slurm.cancel(job)
    assert slurm.wait_job(job)["JobState"] == "CANCELLED"


def test_a_cancelled_job_hears_of_it_first(slurm: SlurmBed, tmp_path: Path) -> None:
    # Not by the job's output: the srun that carries it is stopped at the same time.
    step = "trap 'touch heard; exit 3' TERM; touch up; while :; do read -t 0.05 <>up; done"
    job = slurm.sbatch("-n1", script=f'srun bash -c "{step}"', cwd=tmp_path)
    slurm.wait((tmp_path / "up").exists, "the step is up")
    slurm.cancel(job)
    slurm.wait((tmp_path / "heard").exists, "the step has heard of it")
    assert slurm.wait_job(job)["JobState"] == "CANCELLED"


def test_gpus_are_given_by_environment(slurm: SlurmBed, tmp_path: Path) -> None:
    job = slurm.sbatch(
        "-N1", "--gpus=2", script="echo $CUDA_VISIBLE_DEVICES; srun --gpus=1 env | grep ^CUDA", cwd=tmp_path
    )
    slurm.wait_job(job)
    assert output(job, tmp_path) == ["0,1", "CUDA_VISIBLE_DEVICES=0"]


def test_a_failed_job_is_told_at_once(slurm: SlurmBed, tmp_path: Path) -> None:
    job = slurm.sbatch("-n1", script="exit 3", cwd=tmp_path)
    assert slurm.wait_job(job)["ExitCode"] == "3:0"
    with pytest.raises(AssertionError, match=f"job {job} is FAILED"):
        slurm.wait_job(job, "RUNNING")
    assert slurm.job(999999) == {}


def test_what_scontrol_says_is_cut_at_its_names() -> None:
    line = "JobId=7 Reason=None Command=/a/b c d.sh -x WorkDir=/w AllocNode:Sid=vm:12 CPUs/Task=1 Power="
    assert fields(line) == {
        "JobId": "7", "Reason": "None", "Command": "/a/b c d.sh -x", "WorkDir": "/w", "AllocNode:Sid": "vm:12",
        "CPUs/Task": "1", "Power": "",
    }  # fmt: skip
