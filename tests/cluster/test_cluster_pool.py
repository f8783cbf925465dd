"""A pool that changes, on several hosts: contexts by ssh and as Slurm jobs, into runs that wait for them."""

import os
import signal
from collections import Counter

from disbatch_runs import Bench, Run, children, command_line, processes_of, wait_until
from slurmbed import SlurmBed
from sshbed import SshBed

SCRIPT = ["./run_dbUtil.sh"]
TASK = "sleep 0.3; hostname > $DISBATCH_TASKID.host\n"


def start_empty(bench: Bench, tasks: str, env: dict[str, str] | None = None) -> Run:
    run = bench.start("-S", "-p", "run", tasks=tasks, env=env)
    run.until_exists("run_kvsinfo.txt")
    return run


def nodes_used(bench: Bench) -> Counter[str]:
    return Counter(row.node for row in bench.rows() if row.flags[3] != "P")


def test_hosts_join_by_ssh_and_leave_when_they_are_told(ssh_bed: SshBed, bench: Bench) -> None:
    env = {"PATH": ssh_bed.search_path()}
    waiting = "hostname > $DISBATCH_TASKID.host; until [ -e go ]; do sleep 0.05; done\n"
    run = start_empty(bench, waiting * 4 + TASK * 4, env)
    night = bench.start("-s", "nodea:2", "-l", "NIGHT", program=SCRIPT, env=env)
    run.until_exists("0.host", "1.host")
    day = bench.start("-s", "nodeb:1,nodec:1", "-l", "DAY", program=SCRIPT, env=env)
    run.until_exists("2.host", "3.host")
    assert bench.run("--stop-context", "NIGHT", program=SCRIPT).code == 0
    bench.file("go", "")
    assert night.end().code == 0
    assert run.end().code == 0 and day.end().code == 0
    used = {row.task_id: row.node for row in bench.rows()}
    assert {used[0], used[1]} == {"nodea"} and {used[2], used[3]} == {"nodeb", "nodec"}
    assert {used[n] for n in range(4, 8)} <= {"nodeb", "nodec"}
    for task_id, node in used.items():
        assert bench.read(f"{task_id}.host").strip() == node


def test_a_limit_counts_across_drivers_what_engines_have_run_that_are_gone(
    ssh_bed: SshBed, bench: Bench
) -> None:
    """Of two engines of a context one dies while there is no driver: only the files know what it has run."""
    env = {"PATH": ssh_bed.search_path()}
    task = "touch $DISBATCH_TASKID.on; until [ -e go$((DISBATCH_TASKID / 4)) ]; do sleep 0.05; done\n"
    command = ("-S", "--reattach", "--lease", "6", "-p", "run")
    run = bench.start(*command, tasks=task * 12, env=env)
    run.until_exists("run_kvsinfo.txt")
    pool = bench.start("-s", "nodea:2,nodeb:2", "-C", "7", program=SCRIPT, env=env)
    run.until_exists("0.on", "1.on", "2.on", "3.on")
    bench.file("go0", "")
    run.until(lambda: bench.done() == [0, 1, 2, 3], "four of its seven are done")
    assert len(bench.read("run_limits.txt").splitlines()) == 4
    run.until_exists("4.on", "5.on", "6.on")
    run.kill()
    (ssh,) = [pid for pid in children(pool.pid) if " nodea " in command_line(pid)]
    os.kill(ssh, signal.SIGKILL)
    new = bench.start(*command, "Tasks", env=env)
    for name in ("go1", "go2"):
        bench.file(name, "")
    assert pool.end(30).code == 0, pool.err()
    assert len(bench.done()) == 7, new.err()
    other = bench.start("-s", "nodec:2", program=SCRIPT, env=env)
    assert new.end(30).code == 0 and other.end().code == 0, new.err()
    assert bench.done() == [*range(12)] and not (bench.path / "run_limits.txt").exists()


def test_the_script_joins_from_another_host(ssh_bed: SshBed, bench: Bench) -> None:
    """Started on nodea itself, as a person would who is logged in there: its localhost is nodea."""
    env = {"PATH": ssh_bed.search_path()}
    run = start_empty(bench, TASK * 4, env)
    done = bench.run("nodea", f"{bench.path}/run_dbUtil.sh -s localhost:2", program=["ssh"], env=env)
    assert done.code == 0, done.err
    assert run.end().code == 0
    assert nodes_used(bench) == {"nodea": 4}


def test_a_host_that_does_not_exist_ends_its_context_alone(ssh_bed: SshBed, bench: Bench) -> None:
    env = {"PATH": ssh_bed.search_path()}
    run = start_empty(bench, TASK * 2, env)
    wrong = bench.run("-s", "nowhere:2", program=SCRIPT, env=env)
    assert wrong.code == 3 and "no engine could be started on nowhere" in wrong.err
    run.until(lambda: "waiting for more to join" in run.err(), "the run waits on")
    assert "no engine could be started on nowhere" in run.err()
    assert bench.run("-s", "nodea:1", program=SCRIPT, env=env).code == 0
    assert run.end().code == 0


def test_a_context_process_that_is_killed_takes_its_engines_with_it(ssh_bed: SshBed, bench: Bench) -> None:
    env = {"PATH": ssh_bed.search_path()}
    tasks = "touch $DISBATCH_ENGINE_RANK.on; [ $DISBATCH_ENGINE_RANK != 0 ] || sleep 100\n"
    run = start_empty(bench, tasks, env)
    context = bench.start("-s", "nodea:1", program=SCRIPT, env=env)
    run.until_exists("0.on")
    assert children(context.pid)
    os.kill(context.pid, signal.SIGKILL)
    second = bench.start("-s", "nodeb:1", program=SCRIPT, env=env)
    assert run.end().code == 0 and second.end().code == 0
    assert nodes_used(bench) == {"nodeb": 1}
    # while the hosts are there: an ssh whose host vanishes with its network hears nothing of the end
    wait_until(lambda: not processes_of(str(bench.path)), "nothing is left, here or there", seconds=10)


# ---- Slurm


def test_a_batch_job_of_the_script_joins_a_run_outside_slurm(slurm: SlurmBed, bench: Bench) -> None:
    run = start_empty(bench, TASK * 12, slurm.environ)
    job = slurm.sbatch("-N", "2", "--ntasks-per-node", "3", "run_dbUtil.sh", cwd=bench.path)
    assert run.end(60).code == 0, run.logs()
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert sum(nodes_used(bench).values()) == 12 and len(nodes_used(bench)) == 2
    assert f"context J{job} joins" in run.err()
    assert "2 engines, 6 slots" in bench.read(f"slurm-{job}.out")


def test_each_element_of_a_job_array_is_a_context(slurm: SlurmBed, bench: Bench) -> None:
    run = start_empty(bench, "touch $DISBATCH_ENGINE_RANK.on; until [ -e go ]; do sleep 0.05; done\n" * 3)
    job = slurm.sbatch("--array=1-3", "run_dbUtil.sh", cwd=bench.path)
    run.until(lambda: run.err().count(" joins ") == 3, "three contexts", seconds=60)
    run.until_exists("0.on", "1.on", "2.on")
    bench.file("go", "")
    assert run.end().code == 0
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert len({row.pid for row in bench.rows()}) == 3


def test_a_cancelled_context_gives_its_tasks_back(slurm: SlurmBed, bench: Bench) -> None:
    tasks = "touch $DISBATCH_TASKID.$DISBATCH_ENGINE_RANK; [ $DISBATCH_ENGINE_RANK != 0 ] || sleep 100\n"
    run = start_empty(bench, tasks)
    job = slurm.sbatch("run_dbUtil.sh", cwd=bench.path)
    run.until((bench.path / "0.0").exists, "the task runs in the job", seconds=60)
    slurm.cancel(job)
    run.until(lambda: "waiting for more to join" in run.err(), "the job is gone", seconds=30)
    assert bench.rows() == []
    assert bench.run("-s", "localhost:1", program=SCRIPT).code == 0
    assert run.end().code == 0 and bench.row(0).returncode == 0


def test_a_script_whose_run_has_ended_ends_its_job_well(slurm: SlurmBed, bench: Bench) -> None:
    assert bench.here(1, tasks="true\n").code == 0
    job = slurm.sbatch("run_dbUtil.sh", cwd=bench.path)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert "has ended" in bench.read(f"slurm-{job}.out")
