"""disBatch on several hosts: by real ssh to real sshd, and in jobs of a real Slurm."""

import os
import sys
from collections import Counter
from pathlib import Path

import pytest
from disbatch_runs import Bench, processes_of, wait_until
from slurmbed import SlurmBed
from sshbed import SshBed

ROOT = Path(__file__).parents[2]
SCRIPT = f"export PYTHONPATH={ROOT}\nexec {sys.executable} -m disbatch -p run "


def over_ssh(bed: SshBed) -> dict[str, str]:
    return {"PATH": bed.search_path()}


def nodes_used(bench: Bench) -> Counter[str]:
    return Counter(row.node for row in bench.rows())


# ---- ssh


def test_three_hosts_share_a_list(ssh_bed: SshBed, bench: Bench) -> None:
    tasks = "sleep 0.3; echo $(hostname) > $DISBATCH_TASKID.host\n" * 18
    done = bench.run(
        "-s", "nodea:2,nodeb:3", "-s", "nodec:1", "-p", "run", tasks=tasks, env=over_ssh(ssh_bed)
    )
    assert done.code == 0, done.err
    used = nodes_used(bench)
    assert set(used) == {"nodea", "nodeb", "nodec"} and sum(used.values()) == 18
    for row in bench.rows():
        assert bench.read(f"{row.task_id}.host").strip() == row.node
    assert used["nodeb"] > used["nodec"]


def test_each_form_of_a_host_name_stands_as_given_in_the_status_file(ssh_bed: SshBed, bench: Bench) -> None:
    tasks = "sleep 0.2\n" * 8
    done = bench.run("-s", "root@nodea:1,nodeb.cluster:1", "-p", "run", tasks=tasks, env=over_ssh(ssh_bed))
    assert done.code == 0, done.err
    assert set(nodes_used(bench)) == {"root@nodea", "nodeb.cluster"}


def test_localhost_and_a_host_together(ssh_bed: SshBed, bench: Bench) -> None:
    done = bench.run(
        "-s", "localhost:1,nodea:1", "-p", "run", tasks="sleep 0.2\n" * 10, env=over_ssh(ssh_bed)
    )
    assert done.code == 0, done.err
    assert set(nodes_used(bench)) == {os.uname().nodename, "nodea"}


def test_a_host_that_does_not_exist_is_told_and_the_others_do_the_work(ssh_bed: SshBed, bench: Bench) -> None:
    done = bench.run("-s", "nowhere:4,nodea:2", "-p", "run", tasks="sleep 0.2\n" * 6, env=over_ssh(ssh_bed))
    assert done.code == 0
    assert "no engine could be started on nowhere" in done.err and "resolve" in done.err
    assert nodes_used(bench) == {"nodea": 6}


def test_without_any_engine_the_run_ends_and_says_how_to_go_on(ssh_bed: SshBed, bench: Bench) -> None:
    done = bench.run("-s", "nowhere:4", "-p", "run", tasks="true\n", env=over_ssh(ssh_bed))
    assert done.code == 3
    assert "no engine could be started on nowhere" in done.err
    assert "-r run_status.txt" in done.out.splitlines()[-1]


def test_a_name_of_the_driver_that_means_loopback_does_no_harm(ssh_bed: SshBed, bench: Bench) -> None:
    """The hosts get every address of this machine; those that are their own, or nobody's, are passed over."""
    done = bench.run("-s", "nodea:1", "-p", "run", tasks="true\n", env=over_ssh(ssh_bed))
    assert done.code == 0, done.err


def test_no_secret_is_in_a_command_line_on_either_side(ssh_bed: SshBed, bench: Bench) -> None:
    tasks = "cat /proc/[0-9]*/cmdline > seen.cmd 2>/dev/null; cat /proc/[0-9]*/environ > seen.env 2>/dev/null; true\n"
    run = bench.start(
        "-s",
        "nodea:1",
        "-p",
        "run",
        tasks=tasks + "until [ -e go ]; do sleep 0.05; done",
        env=over_ssh(ssh_bed),
    )
    run.until_exists("seen.env")
    (token,) = [
        line.split()[1] for line in bench.read("run_kvsinfo.txt").splitlines() if line.startswith("token ")
    ]
    run.until(lambda: len(bench.rows()) == 1, "the first row")
    for name in ("seen.cmd", "seen.env", "run_driver.txt", "run_nodea_engine.txt", "run_status.txt"):
        assert token not in bench.read(name)
    bench.file("go", "")
    assert run.end().code == 0


def test_a_driver_that_is_killed_leaves_nothing_on_the_hosts(ssh_bed: SshBed, bench: Bench) -> None:
    run = bench.start(
        "-s",
        "nodea:1,nodeb:1",
        "-p",
        "run",
        tasks="touch $DISBATCH_TASKID.on; sleep 100\n" * 2,
        env=over_ssh(ssh_bed),
    )
    run.until_exists("0.on", "1.on")
    run.kill()
    run.process.wait(10)
    # while the hosts are there: a client whose host vanishes with its network hears nothing of the end
    wait_until(lambda: not processes_of(str(bench.path)), "nothing is left, here or there", seconds=10)


# ---- Slurm


def test_a_batch_job_uses_all_its_tasks(slurm: SlurmBed, bench: Bench) -> None:
    bench.file(
        "Tasks", "sleep 0.5; echo $SLURMD_NODENAME $DISBATCH_ENGINE_RANK > $DISBATCH_TASKID.node\n" * 12
    )
    job = slurm.sbatch("-n", "6", "--ntasks-per-node", "2", script=SCRIPT + "Tasks", cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    used = nodes_used(bench)
    assert set(used) == {"node1", "node2", "node3"} and used.total() == 12 and max(used.values()) <= 6
    for row in bench.rows():
        assert bench.read(f"{row.task_id}.node").split()[0] == row.node
    starts = sorted(row.start_s for row in bench.rows())
    assert starts[5] - starts[0] < 2.0  # six at a time


def test_the_prefix_is_the_job_id(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "echo $DISBATCH_JOBID > id\n")
    job = slurm.sbatch(script=SCRIPT.replace("-p run", "") + "Tasks", cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert (bench.path / f"Tasks_{job}_status.txt").exists()
    assert bench.read("id").strip() == str(job)


def test_uneven_nodes_under_salloc(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "sleep 0.4\n" * 10)
    done = slurm.salloc(["-n5", "-N2"], ["bash", "-c", SCRIPT + "Tasks"], cwd=bench.path)
    assert done.returncode == 0, done.stderr
    used = nodes_used(bench)
    assert used["node1"] == 8 and used["node2"] == 2


def test_a_task_may_use_srun_itself_and_sees_the_variables_of_the_job(slurm: SlurmBed, bench: Bench) -> None:
    bench.file(
        "Tasks",
        "srun -N1 -n1 -w $SLURMD_NODENAME --exact hostname > $DISBATCH_TASKID.out 2>&1\n"
        "env | grep -E '^(SLURM|PMI)' | sort > env.out\n",
    )
    job = slurm.sbatch("-n", "2", "-N", "2", script=SCRIPT + "Tasks", cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert [row.returncode for row in bench.rows()] == [0, 0], bench.logs()
    assert bench.read("0.out").strip() == bench.row(0).node
    seen = bench.read("env.out")
    assert f"SLURM_JOB_ID={job}" in seen and "SLURM_NNODES=1" in seen
    assert not [line for line in seen.splitlines() if line.startswith(("SLURM_STEP", "PMI"))]


@pytest.mark.parametrize(("options", "slots"), [(["-c2"], 1), (["-c2", "--fill"], 2), (["-t", "1"], 1)])
def test_slots_of_a_job_of_one_node(slurm: SlurmBed, bench: Bench, options: list[str], slots: int) -> None:
    bench.file("Tasks", "sleep 0.1\n")
    script = SCRIPT + " ".join(["--dry-run", *options, "Tasks"])
    job = slurm.sbatch("-N1", "-n2", "--exclusive", script=script, cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert f"node1: {slots} slot{'s' * (slots != 1)} (" in bench.read(f"slurm-{job}.out")


def test_a_job_that_is_cancelled_records_no_failure_and_can_go_on(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "touch $DISBATCH_TASKID.on; sleep ${WAIT:-100}\n" * 2)
    job = slurm.sbatch("-n", "2", "-N", "2", script=SCRIPT + "Tasks", cwd=bench.path)
    slurm.wait(
        lambda: (bench.path / "1.on").exists() and (bench.path / "0.on").exists(), "both tasks run", 60
    )
    slurm.cancel(job)
    slurm.wait_job(job, "CANCELLED", seconds=60)
    slurm.wait_idle()
    assert bench.rows() == []
