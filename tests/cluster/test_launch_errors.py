"""What a user reads when an engine does not come up: real ssh and srun, each made to fail in one way."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from disbatch_runs import Bench, Result
from slurmbed import SlurmBed
from sshbed import SshBed

ROOT = Path(__file__).parents[2]
SCRIPT = f"export PYTHONPATH={ROOT}\nexec {sys.executable} -m disbatch -p run "


def over_ssh(bed: SshBed, bench: Bench, host: str, *options: str, **environ: str) -> Result:
    """A run of one task on a host that cannot be used, and one that can."""
    env = {"PATH": bed.search_path()} | environ
    return bench.run("-s", f"{host}:1,nodec:1", "-p", "run", *options, tasks="true\n", env=env)


def complaint(done: Result) -> str:
    (line,) = [line for line in done.err.splitlines() if "no engine could be started on" in line]
    return line.split("no engine could be started on ", 1)[1]


# ---- ssh


def test_a_name_that_nobody_knows(ssh_bed: SshBed, bench: Bench) -> None:
    done = over_ssh(ssh_bed, bench, "nowhere")
    assert done.code == 0
    assert complaint(done).startswith("nowhere: ssh: Could not resolve hostname nowhere")


def test_a_key_that_is_refused(ssh_bed: SshBed, bench: Bench) -> None:
    ssh_bed.prepend_config(f"Host nodea\n    IdentityFile {ssh_bed.path}/nodea.key\n")
    ssh_bed.config.write_text(
        ssh_bed.config.read_text().replace(f"    IdentityFile {ssh_bed.path}/user.key\n", "", 1)
    )
    ssh_bed.prepend_config(f"Host nodec\n    IdentityFile {ssh_bed.path}/user.key\n")
    done = over_ssh(ssh_bed, bench, "nodea")
    assert done.code == 0, done.err
    assert complaint(done).startswith("nodea: root@") and "Permission denied (publickey)" in complaint(done)


def test_a_host_key_that_has_changed(ssh_bed: SshBed, bench: Bench) -> None:
    known = ssh_bed.path / "known_hosts"
    lines = known.read_text().splitlines()
    keys = {line.split()[0]: line.split(" ", 1)[1] for line in lines}
    known.write_text("".join(f"{host} {keys['nodeb' if host == 'nodea' else host]}\n" for host in keys))
    done = over_ssh(ssh_bed, bench, "nodea")
    assert done.code == 0, done.err
    assert "Host key for nodea has changed" in complaint(done)


def test_a_host_that_is_not_known_yet(ssh_bed: SshBed, bench: Bench) -> None:
    known = ssh_bed.path / "known_hosts"
    known.write_text("".join(line + "\n" for line in known.read_text().splitlines() if "nodea" not in line))
    done = over_ssh(ssh_bed, bench, "nodea")
    assert "host key is known for nodea" in complaint(done)


def test_a_folder_that_the_host_does_not_see(ssh_bed: SshBed, bench: Bench) -> None:
    hide = subprocess.run(
        [
            "nsenter",
            "-t",
            str(ssh_bed._first_pids["nodea"]),
            "-m",
            "mount",
            "-t",
            "tmpfs",
            "none",
            str(bench.path),
        ]
    )
    assert hide.returncode == 0
    done = over_ssh(ssh_bed, bench, "nodea")
    assert done.code == 0
    assert "does not see the files of the run" in complaint(done) or "No such file" in complaint(done)


UNTIL_GO = "until [ -e go ]; do sleep 0.05; done\n"
IMPATIENT = "import sys, disbatch.cli, disbatch.runtime.launches as l; assert l.SIGN_IN_S == 60; l.SIGN_IN_S = 2; sys.exit(disbatch.cli.main())"


def test_an_engine_that_never_signs_in_is_told_with_what_ssh_said(ssh_bed: SshBed, bench: Bench) -> None:
    """The way to the host swallows everything. Users wait a minute for it; the test has less time."""
    ssh_bed.prepend_config(
        "Host nodea\n    ProxyCommand sh -c 'echo the gate is shut >&2; echo come back later >&2; while read line; do :; done'\n"
    )
    env = {"PATH": ssh_bed.search_path()}
    program = [sys.executable, "-c", IMPATIENT]
    said = (
        "nodea: the gate is shut | come back later (no engine has signed in within 2 s: the host or the way to it hangs, "
        "or a start file of the login shell there (~/.bashrc) waits for input)"
    )
    alone = bench.run("-s", "nodea:1", "-p", "alone", tasks="true\n", env=env, program=program)
    assert alone.code == 3 and complaint(alone) == said
    assert "-r alone_status.txt" in alone.out.splitlines()[-1]
    waiting = bench.start("-s", "nodea:1,localhost:1", "-p", "run", tasks=UNTIL_GO, env=env, program=program)
    waiting.until(lambda: "no engine could be started on nodea" in waiting.err(), "it is told at once")
    bench.file("go", "")
    done = waiting.end()
    assert done.code == 0 and complaint(done) == said


# ---- addresses


def test_when_no_address_answers_the_message_lists_what_was_tried(ssh_bed: SshBed, bench: Bench) -> None:
    """The address that was given is on a network to which the hosts have no way."""
    subprocess.run(["ip", "address", "add", "203.0.113.7/32", "dev", ssh_bed._cable], check=True)
    with socket.create_server(("203.0.113.7", 0)) as probe:
        port = probe.getsockname()[1]
    env = {"PATH": ssh_bed.search_path()}
    done = bench.run(
        "-s", "nodea:1", "-p", "run", "--use-address", f"203.0.113.7:{port}", tasks="true\n", env=env
    )
    assert done.code == 3
    said = complaint(done)
    assert f"203.0.113.7:{port}" in said and f"{ssh_bed.driver_address}:{port}" in said
    assert "Network is unreachable" in said and "Connection refused" in said
    assert "--use-address HOST:PORT" in said
    assert "-r run_status.txt" in done.out.splitlines()[-1]


def test_a_driver_whose_name_leads_the_hosts_to_themselves(
    ssh_bed: SshBed, bench: Bench, tmp_path: Path
) -> None:
    """And that does not know from where ssh came: what is left is its other addresses."""
    names = ssh_bed.name_file("nodea")
    names.write_text(names.read_text() + f"127.0.0.1 {os.uname().nodename}\n")
    folder = tmp_path / "bin"
    folder.mkdir()
    forgetful = folder / "ssh"
    forgetful.write_text(
        '#!/bin/bash\nset -- "${@:1:$#-1}" "unset SSH_CONNECTION SSH_CLIENT; touch forgotten; ${@: -1}"\n'
        f'exec {shutil.which("ssh", path=ssh_bed.search_path())} "$@"\n'
    )
    forgetful.chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    tasks = f"getent hosts {os.uname().nodename} > name; echo ${{SSH_CONNECTION-none}} >> name\n"
    done = bench.run("-s", "nodea:1", "-p", "run", tasks=tasks, env=env)
    assert done.code == 0, done.err
    assert bench.read("name").split()[0].startswith("127.") and bench.read("name").split()[-1] == "none"


# ---- srun


def test_a_node_that_srun_may_not_use_any_more(slurm: SlurmBed, bench: Bench) -> None:
    """It was taken from the job before disBatch began."""
    bench.file("Tasks", "true\n" * 3)
    script = "scontrol update JobId=$SLURM_JOB_ID NodeList=node1 >/dev/null; " + SCRIPT + "Tasks"
    done = slurm.salloc(["-n2", "-N2"], ["bash", "-c", script], cwd=bench.path)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "no engine could be started on node2" in line]
    assert "srun: error: Unable to create step" in line and "binding" not in line


def test_an_option_that_srun_refuses(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "true\n")
    bench.file("options", "SLURM_GRES=gpu:7\n")
    script = "export DISBATCH_SLURM_SRUN_OPTIONS_FILE=options; " + SCRIPT + "Tasks"
    done = slurm.salloc(["-n1"], ["bash", "-c", script], cwd=bench.path)
    assert done.returncode == 3
    assert "Invalid generic resource" in done.stderr and "cpu binding" not in done.stderr


def test_an_engine_that_slurm_kills_is_told_without_the_noise(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "touch on; until [ -e go ]; do sleep 0.1; done\n")
    job = slurm.sbatch("-n1", script=SCRIPT + "Tasks", cwd=bench.path)
    slurm.wait((bench.path / "on").exists, "the task runs", 30)
    assert slurm.command("scancel", "--signal=KILL", f"{job}.0").returncode == 0
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=40)  # by another engine
    said = (bench.path / f"slurm-{job}.out").read_text()
    (line,) = [line for line in said.splitlines() if "the engine on node1 was lost" in line]
    assert "lacks support" not in said and (
        "killed by SIGKILL" in line or "CANCELLED" in line or "Killed" in line
    )
