"""Faults between hosts: ssh and srun that are killed, steps that are cancelled, links that go down and come back."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from disbatch_runs import (
    AFTER_A_KILL_S,
    Bench,
    Run,
    children,
    command_line,
    observed,
    processes_of,
    wait_until,
)
from slurmbed import SlurmBed
from sshbed import SshBed

ROOT = Path(__file__).parents[2]
# A lock that goes with its holder (all hosts share one kernel): a second task beside it leaves a file.
TASK = (
    "exec 8>lock.$DISBATCH_TASKID; flock -n 8 || echo $DISBATCH_TASKID >> twins; "
    "echo $(hostname) >> begun.$DISBATCH_TASKID; [ -e go ] && exit 0; sleep 1000; true"
)


def over_ssh(bed: SshBed) -> dict[str, str]:
    return {"PATH": bed.search_path()}


def start(bed: SshBed, bench: Bench, *options: str) -> Run:
    """One task on nodea; nodeb is free for whatever is lost."""
    run = bench.start(
        "-s", "nodea:1,nodeb:1", "-p", "run", *options, tasks=f"{TASK}\n{TASK}\n", env=over_ssh(bed)
    )
    run.until(lambda: begun(bench, 0) and begun(bench, 1), "both tasks run")
    return run


def begun(bench: Bench, task_id: int) -> list[str]:
    path = bench.path / f"begun.{task_id}"
    return path.read_text().split() if path.exists() else []


def task_on(bench: Bench, host: str) -> int:
    (found,) = [i for i in range(2) if begun(bench, i)[0] == host]
    return found


def host_of(pid: int) -> str:
    """The host that a process of ours runs on: the name that its namespace has."""
    done = subprocess.run(
        ["nsenter", "-t", str(pid), "-u", "hostname"], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def launchers(run: Run, word: str) -> list[int]:
    return [pid for pid in children(run.pid) if word in command_line(pid)]


def completes(bench: Bench, run: Run) -> None:
    end_tasks(bench)
    result = run.end(60)
    assert result.code == 0, result.err
    assert bench.done() == [0, 1] and not (bench.path / "twins").exists()


def test_a_killed_ssh_costs_seconds(ssh_bed: SshBed, bench: Bench) -> None:
    run = start(ssh_bed, bench)
    lost = task_on(bench, "nodea")
    (ssh,) = launchers(run, " nodea ")
    os.kill(ssh, signal.SIGKILL)
    began = time.monotonic()
    run.until(lambda: len(begun(bench, lost)) == 2, "the lost task runs again", seconds=20)
    assert observed("ssh killed", began) < 5 or os.getloadavg()[0] > 4
    assert len(begun(bench, 1 - lost)) == 1
    completes(bench, run)


def test_an_engine_that_sees_the_end_of_its_ssh_first_is_replaced(ssh_bed: SshBed, bench: Bench) -> None:
    """It has said good-bye before disBatch can see that the ssh is gone: the run, without any engine, waits for that."""
    run = bench.start("-s", "nodea:1", "-p", "run", tasks=f"{TASK}\n", env=over_ssh(ssh_bed))
    run.until(lambda: begun(bench, 0), "the task runs")
    (ssh,) = launchers(run, " nodea ")
    os.kill(ssh, signal.SIGSTOP)
    (task,) = bench.task_pids()
    os.kill(sshd_of(task), signal.SIGKILL)
    run.until(
        lambda: "whoever launched it is gone" in bench.read("run_driver.txt"), "it has left", seconds=20
    )
    os.kill(ssh, signal.SIGKILL)
    began = time.monotonic()
    run.until(lambda: len(begun(bench, 0)) == 2, "the task runs again", seconds=20)
    assert observed("engine left, then its ssh was seen dead", began) < 5 or os.getloadavg()[0] > 4
    assert "the engine on nodea has stopped its tasks and left" in run.err()
    assert "another engine is started on nodea" in run.err()
    end_tasks(bench)
    assert run.end(60).code == 0
    assert bench.done() == [0] and not (bench.path / "twins").exists()


def sshd_of(pid: int) -> int:
    """The process at the far end of the ssh that has started the engine of this task."""
    while "sshd" not in command_line(pid).split(" ", 1)[0]:
        pid = parent(pid)
        assert pid > 1
    return pid


def test_a_link_that_is_down_for_five_seconds_is_not_noticed(ssh_bed: SshBed, bench: Bench) -> None:
    run = start(ssh_bed, bench, "--lease", "60")
    ssh_bed.link("nodea", up=False)
    began = time.monotonic()
    run.until(lambda: time.monotonic() - began > 5, "five seconds")
    ssh_bed.link("nodea", up=True)
    completes(bench, run)
    assert all(len(begun(bench, i)) == 1 for i in range(2)) and "lost" not in run.err()


def test_a_link_that_is_down_for_longer_than_the_lease(ssh_bed: SshBed, bench: Bench) -> None:
    """The tasks of the node are killed there before they run elsewhere; when the link is up, its engine works again."""
    run = start(ssh_bed, bench, "--lease", "5", "--lost-limit", "9")
    lost = task_on(bench, "nodea")
    ssh_bed.link("nodea", up=False)
    began = time.monotonic()
    alive = bench.task_pids
    run.until(lambda: "nodea was lost" in run.err(), "it is lost", seconds=30)
    run.until(lambda: len(alive()) == 1, "its task is dead", seconds=10)
    lost_after = observed("link down, lease 5 s: lost, and its task is dead", began)
    run.until(lambda: time.monotonic() - began > 7, "the lease is over")
    ssh_bed.link("nodea", up=True)
    assert lost_after < 5 + 6 or os.getloadavg()[0] > 4
    run.until(lambda: len(begun(bench, lost)) >= 2, "the lost task runs again", seconds=60)
    completes(bench, run)


def test_a_host_that_dies_without_a_word(ssh_bed: SshBed, bench: Bench) -> None:
    """No connection is closed: only the lease tells."""
    run = start(ssh_bed, bench, "--lease", "4")
    lost = task_on(bench, "nodea")
    bench.file("go", "")  # from now on a task that begins ends at once
    for pid in bench.task_pids():
        if host_of(pid) == "nodeb":
            os.kill(pid, signal.SIGTERM)
    ssh_bed.crash("nodea")
    began = time.monotonic()
    run.until(lambda: begun(bench, lost)[1:] == ["nodeb"], "its task runs elsewhere", seconds=20)
    assert observed("host dead without a word, lease 4 s", began) < 4 + 4 or os.getloadavg()[0] > 4
    assert run.end(60).code == 0 and bench.row(lost).returncode == 0


def test_engines_on_hosts_end_with_their_driver(ssh_bed: SshBed, bench: Bench) -> None:
    run = start(ssh_bed, bench)
    run.kill()
    began = time.monotonic()
    wait_until(
        lambda: bench.left_running() == [],
        "nothing is left on any host",
        seconds=AFTER_A_KILL_S,
        logs=bench.logs,
    )
    observed("driver killed: nothing is left on any host", began)


def test_a_stopped_ssh_is_not_noticed(ssh_bed: SshBed, bench: Bench) -> None:
    """It has started an engine, which speaks to the driver itself."""
    run = start(ssh_bed, bench, "--lease", "2")
    (ssh,) = launchers(run, " nodea ")
    os.kill(ssh, signal.SIGSTOP)
    began = time.monotonic()
    run.until(lambda: time.monotonic() - began > 3, "longer than a lease")
    assert all(len(begun(bench, i)) == 1 for i in range(2))
    completes(bench, run)
    assert "lost" not in run.err()
    observed("ssh stopped: nothing noticed, and the run has ended", began)


def test_where_the_driver_only_does_not_answer_the_lease_ends_what_runs(
    ssh_bed: SshBed, bench: Bench
) -> None:
    run = start(ssh_bed, bench, "--lease", "4")
    ssh_bed.link("nodea", up=False)
    try:
        run.kill()
        began = time.monotonic()
        wait_until(lambda: not bench.task_pids(), "all tasks are dead", seconds=9, logs=bench.logs)
        observed("driver silent, lease 4 s: all tasks are dead", began)
        # the ssh of this side waits for its network; nothing is left of the engines
        wait_until(
            lambda: all("/ssh " in line for line in bench.left_running()),
            "engines give up",
            seconds=40,
            logs=bench.logs,
        )
    finally:
        ssh_bed.link("nodea", up=True)
    wait_until(lambda: bench.left_running() == [], "nothing is left", seconds=40, logs=bench.logs)


def test_a_crashed_run_on_hosts_is_swept_when_it_is_resumed(ssh_bed: SshBed, bench: Bench) -> None:
    """Engine and guard on the host are stopped when the driver dies: only a sweep can kill their task."""
    run = bench.start("-s", "nodea:1", "-p", "run", tasks=f"{TASK}\n", env=over_ssh(ssh_bed))
    run.until(lambda: begun(bench, 0), "the task runs")
    (task,) = bench.task_pids()
    engine = parent(task)
    for pid in (parent(engine), engine):
        os.kill(pid, signal.SIGSTOP)
    run.kill()
    began = time.monotonic()
    again = bench.start("-s", "nodea:1", "-p", "next", "-r", "run_status.txt", "Tasks", env=over_ssh(ssh_bed))
    again.until(lambda: len(begun(bench, 0)) == 2, "it runs again", seconds=60)
    observed("-r after a crash, engine and guard stopped on their host", began)
    assert bench.task_pids() and task not in bench.task_pids()
    completes_as(bench, again, "next_status.txt")


def completes_as(bench: Bench, run: Run, status: str) -> None:
    end_tasks(bench)
    assert run.end(60).code == 0
    assert bench.done(status) == [0] and not (bench.path / "twins").exists()


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


# ---- Slurm


def in_slurm(slurm: SlurmBed, bench: Bench, *options: str) -> int:
    """A job of two nodes with a task on each; returns its id."""
    bench.file("Tasks", f"{TASK.replace('$(hostname)', '$SLURMD_NODENAME')}\n" * 2)
    program = f"export PYTHONPATH={ROOT}\nexec {sys.executable} -m disbatch -p run {' '.join(options)} Tasks"
    job = slurm.sbatch("-N2", "-n2", "--ntasks-per-node=1", script=program, cwd=bench.path)
    wait_until(lambda: begun(bench, 0) and begun(bench, 1), "both tasks run", seconds=60, logs=bench.logs)
    return job


def srun_of(bench: Bench, node: str) -> int:
    """The srun that has started the engine there: the first of its two processes."""
    found = [pid for pid in processes_of(str(bench.path.parent)) if command_line(pid).startswith("srun")]
    return min(pid for pid in found if f" -w {node} " in command_line(pid))


def end_tasks(bench: Bench) -> None:
    """Those that run; one may be about to sleep. What begins from now on ends by itself."""
    bench.file("go", "")

    def ended() -> bool:
        tasks = bench.task_pids()
        for child in [child for pid in tasks for child in children(pid)]:
            if command_line(child).startswith("sleep 1000"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGTERM)
        return not tasks

    wait_until(ended, "all tasks have ended", seconds=30, logs=bench.logs)


def again_in_slurm(slurm: SlurmBed, bench: Bench, job: int, lost: int, seconds: float, what: str) -> None:
    began = time.monotonic()
    wait_until(lambda: len(begun(bench, lost)) == 2, "the lost task runs again", seconds=30, logs=bench.logs)
    assert observed(what, began) < seconds or os.getloadavg()[0] > 4
    assert len(begun(bench, 1 - lost)) == 1
    end_tasks(bench)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert bench.done() == [0, 1] and not (bench.path / "twins").exists()


def test_a_killed_srun_costs_seconds(slurm: SlurmBed, bench: Bench) -> None:
    job = in_slurm(slurm, bench)
    os.kill(srun_of(bench, begun(bench, 0)[0]), signal.SIGKILL)
    again_in_slurm(slurm, bench, job, 0, 5, "srun killed")


def test_a_stopped_srun_is_not_noticed(slurm: SlurmBed, bench: Bench) -> None:
    job = in_slurm(slurm, bench, "--lease", "2")
    srun = srun_of(bench, begun(bench, 0)[0])
    os.kill(srun, signal.SIGSTOP)
    began = time.monotonic()
    wait_until(lambda: time.monotonic() - began > 3, "longer than a lease")
    end_tasks(bench)
    slurm.wait_job(job, "COMPLETED", seconds=60)
    observed("srun stopped: nothing noticed, and the run has ended", began)
    assert bench.done() == [0, 1] and all(len(begun(bench, i)) == 1 for i in range(2))
    assert "lost" not in bench.read(f"slurm-{job}.out")


def test_a_cancelled_step_costs_seconds(slurm: SlurmBed, bench: Bench) -> None:
    job = in_slurm(slurm, bench)
    lost, node = 0, begun(bench, 0)[0]
    steps = slurm.command("squeue", "--steps", "-h", "-j", str(job), "-o", "%i %N").stdout.split("\n")
    (step,) = [line.split()[0] for line in steps if line.split()[1:] == [node] and "batch" not in line]
    slurm.command("scancel", "--signal=KILL", step)
    again_in_slurm(slurm, bench, job, lost, 5, "step cancelled")
