"""Logins by a real sshd whose user has start files and a configuration of the kind that people have."""

import os
import shlex
import socket
import subprocess
import sys
import time

from disbatch_runs import PYTHON, Bench
from sshbed import SshBed
from test_launch_errors import complaint

HANGS = "import sys, disbatch.cli, disbatch.runtime.launches as l; assert l.SIGN_IN_S == 60; l.SIGN_IN_S = 2; sys.exit(disbatch.cli.main())"


def over_ssh(bed: SshBed) -> dict[str, str]:
    return {"PATH": bed.search_path()}


def start_file(bed: SshBed, text: str) -> None:
    (bed.path / "home" / ".bashrc").write_text(text)


def on_host(bed: SshBed, host: str, script: str) -> None:
    """Runs a script where the mounts of this host are."""
    target = ["nsenter", "-t", str(bed._first_pids[host]), "-m", "sh", "-ec", script]
    subprocess.run(target, check=True)


def test_a_login_reads_its_start_file_once_and_no_task_does(ssh_bed: SshBed, bench: Bench) -> None:
    start_file(ssh_bed, "echo welcome; echo news >&2; echo x >> $HOME/read; cd /\n")
    tasks = "pwd > $DISBATCH_TASKID.pwd; echo $SHLVL > $DISBATCH_TASKID.level\n" * 4
    done = bench.run("-s", "nodea:2", "-p", "run", tasks=tasks, env=over_ssh(ssh_bed))
    assert done.code == 0, done.err
    assert (ssh_bed.path / "home" / "read").read_text() == "x\n"
    for row in bench.rows():
        assert (row.out_bytes, row.err_bytes) == (0, 0)
        assert bench.read(f"{row.task_id}.pwd").strip() == str(bench.path)
        assert bench.read(f"{row.task_id}.level") == "2\n"


def test_a_driver_that_was_started_by_ssh_runs_no_start_file_either(ssh_bed: SshBed, bench: Bench) -> None:
    start_file(ssh_bed, "echo welcome; echo x >> $HOME/read; cd /\n")
    bench.file("Tasks", "pwd > $DISBATCH_TASKID.pwd\n" * 3)
    words = " ".join(map(shlex.quote, [*PYTHON, "-s", "localhost:1", "-p", "run", "Tasks"]))
    root = shlex.quote(bench.env["PYTHONPATH"])
    command = f"cd {shlex.quote(str(bench.path))} && PYTHONPATH={root} exec {words}"
    done = bench.run("nodea", command, program=["ssh"], env=over_ssh(ssh_bed))
    assert done.code == 0, done.err
    assert (ssh_bed.path / "home" / "read").read_text() == "x\n"
    assert [row.out_bytes for row in bench.rows()] == [0, 0, 0]


def test_a_link_here_and_a_mount_there_agree(ssh_bed: SshBed, bench: Bench) -> None:
    """/seen is a symbolic link on the driver's machine, and a mount on the host, which has no other way to the files."""
    outer, there = bench.path / "outer", bench.path / "there"
    (outer / "real").mkdir(parents=True)
    there.mkdir()
    (outer / "seen").symlink_to("real")
    bench.file("outer/real/Tasks", "pwd > seen.pwd; touch here\n")
    on_host(
        ssh_bed,
        "nodea",
        f"mount --bind {outer}/real {there}; mount -t tmpfs none {outer}; mkdir {outer}/seen; mount --bind {there} {outer}/seen",
    )
    words = " ".join(map(shlex.quote, [*PYTHON, "-s", "nodea:1", "-p", "run", "Tasks"]))
    env = over_ssh(ssh_bed)
    done = bench.run(f"cd {outer}/seen && {words}", program=["/bin/bash", "-c"], env=env)
    assert done.code == 0, done.err
    assert bench.read("outer/real/seen.pwd").strip() == f"{outer}/seen"
    assert (outer / "real" / "here").exists()


def test_what_a_person_has_configured_for_logins_does_not_disturb(ssh_bed: SshBed, bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ssh_bed.prepend_config(
            f"Host nodea\n    RemoteCommand echo hello\n    LocalForward {port} localhost:22\n    ExitOnForwardFailure yes\n"
        )
        done = bench.run("-s", "nodea:1", "-p", "run", tasks="true\n", env=over_ssh(ssh_bed))
    assert done.code == 0, done.err
    assert [row.node for row in bench.rows()] == ["nodea"]


def test_a_start_file_that_ends_the_login_is_explained(ssh_bed: SshBed, bench: Bench) -> None:
    start_file(ssh_bed, "echo not for machines; exit 0\n")
    done = bench.run("-s", "nodea:1", "-p", "run", tasks="true\n", env=over_ssh(ssh_bed))
    assert done.code == 3
    said = complaint(done)
    assert said.startswith(
        "nodea: not for machines (exit code 0: a start file of the login shell there (~/.bashrc)"
    )


def test_a_start_file_that_waits_for_input_is_explained(ssh_bed: SshBed, bench: Bench) -> None:
    start_file(ssh_bed, "cat > /dev/null\n")
    program = [sys.executable, "-c", HANGS]
    done = bench.run("-s", "nodea:1", "-p", "run", tasks="true\n", env=over_ssh(ssh_bed), program=program)
    assert done.code == 3
    assert "start file of the login shell there (~/.bashrc) waits for input" in complaint(done)


def test_a_host_with_a_port_and_a_user(ssh_bed: SshBed, bench: Bench) -> None:
    address = ssh_bed.address("nodea")
    ssh_bed.prepend_config(f"Host {address}\n    HostKeyAlias nodea\n")
    done = bench.run(
        "-s", f"ssh://root@{address}:22:2", "-p", "run", tasks="true\n" * 2, env=over_ssh(ssh_bed)
    )
    assert done.code == 0, done.err
    assert {row.node for row in bench.rows()} == {f"root@{address}:22"}
    assert os.path.exists(bench.path / f"run_root@{address}:22_engine.txt")


def test_nobody_waits_for_a_host_that_accepts_and_says_nothing(ssh_bed: SshBed, bench: Bench) -> None:
    with socket.create_server((ssh_bed.driver_address, 0)) as silent:
        port = silent.getsockname()[1]
        ssh_bed.prepend_config(f"Host silent\n    HostName {ssh_bed.driver_address}\n    Port {port}\n")
        began = time.monotonic()
        done = bench.run("-s", "silent:1,nodea:1", "-p", "run", tasks="true\n", env=over_ssh(ssh_bed))
        assert done.code == 0 and time.monotonic() - began < 10
    assert "silent" not in done.err
