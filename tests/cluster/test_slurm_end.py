"""How jobs end, and how the next one goes on: signals, a time limit, draining, a requeue, three jobs in a row."""

import sys
from pathlib import Path

from disbatch_runs import Bench
from slurmbed import KILL_WAIT_S, OVER, SlurmBed

ROOT = Path(__file__).parents[2]
ENVIRONMENT = f"export PYTHONPATH={ROOT}\n"
PROGRAM = f"{sys.executable} -m disbatch"


def output(bench: Bench, job: int) -> str:
    path = bench.path / f"slurm-{job}.out"
    return path.read_text() if path.exists() else ""


def resume_command(bench: Bench, job: int) -> str:
    """What the job's last line says is to be run next."""
    words, _, command = output(bench, job).splitlines()[-1].partition(": ")
    assert words == "To go on from here", output(bench, job)
    return command


def submit(slurm: SlurmBed, bench: Bench, command: str, *options: str) -> int:
    return slurm.sbatch(
        "-N2", "-n4", "--ntasks-per-node=2", *options, script=ENVIRONMENT + "exec " + command, cwd=bench.path
    )


def times_done(bench: Bench, tasks: int) -> list[int]:
    """How often each task came to its end."""
    paths = [bench.path / f"{number}.done" for number in range(tasks)]
    return [len(path.read_text().splitlines()) if path.exists() else 0 for path in paths]


def test_one_list_in_three_jobs_loses_nothing_and_runs_nothing_twice(slurm: SlurmBed, bench: Bench) -> None:
    """The first is sent TERM, the second reaches its time limit, the third comes to its own end."""
    count = 60
    task = "echo >> $DISBATCH_TASKID.begun; sleep 0.2; until [ -e go$((DISBATCH_TASKID / 20)) ]; do sleep 0.1; done; echo >> $DISBATCH_TASKID.done\n"
    bench.file("Tasks", task * count)
    bench.file("go0", "")

    first = submit(slurm, bench, PROGRAM + " -p run Tasks")
    slurm.wait((bench.path / "21.begun").exists, "tasks of the second part run", 30)
    # One that has said its last word and is not yet noted would rightly be run again.
    slurm.wait(lambda: len(bench.rows()) == 20, "all of the first part are noted", 30)
    slurm.cancel(first, "--signal=TERM", "--full")
    slurm.wait_job(first, "FAILED", seconds=30)
    assert slurm.job(first)["ExitCode"] == "143:0"

    bench.file("go1", "")
    second = submit(slurm, bench, resume_command(bench, first), "--time=5")
    slurm.wait((bench.path / "41.begun").exists, "tasks of the third part run", 30)
    slurm.ends_in(second, 2)
    slurm.wait_job(second, "TIMEOUT", seconds=90)

    bench.file("go2", "")
    third = submit(slurm, bench, resume_command(bench, second))
    slurm.wait_job(third, "COMPLETED", seconds=60)
    assert times_done(bench, count) == [1] * count
    rows = bench.rows()
    assert sorted(row.task_id for row in rows) == list(range(count)) and {row.returncode for row in rows} == {
        0
    }
    both = [row for name in ("run.1_status.txt", "run.2_status.txt") for row in bench.rows(name)]
    assert {row.returncode for row in both} == {0}  # what was stopped is not recorded as failed


def test_signals_to_the_steps_alone_end_the_run_too(slurm: SlurmBed, bench: Bench) -> None:
    """scancel --signal spares the batch script: the driver loses its engines, in order."""
    bench.file("Tasks", "touch $DISBATCH_TASKID.on; sleep 100\n" * 4)
    job = submit(slurm, bench, PROGRAM + " -p run Tasks")
    slurm.wait(lambda: len(list(bench.path.glob("*.on"))) == 4, "all tasks run", 30)
    slurm.cancel(job, "--signal=TERM")
    slurm.wait_job(job, "FAILED", seconds=30)
    assert slurm.job(job)["ExitCode"] == "3:0" and bench.rows() == []
    assert "-r run_status.txt" in resume_command(bench, job)


def test_a_job_drains_before_its_end_and_says_how_to_go_on(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "echo >> $DISBATCH_TASKID.begun; sleep 1; echo >> $DISBATCH_TASKID.done\n" * 100)
    job = submit(slurm, bench, PROGRAM + " --drain-before 54 -p run Tasks", "--time=1")
    slurm.wait_job(job, "FAILED", seconds=40)
    assert slurm.job(job)["ExitCode"] == "3:0"
    said = output(bench, job)
    assert "the job ends in less than 54 s (--drain-before): nothing more is started" in said
    done = bench.done()
    assert 4 <= len(done) < 60
    assert len(list(bench.path.glob("*.begun"))) == len(done)  # what was begun has come to its end
    assert "-r run_status.txt" in resume_command(bench, job)
    assert "draining begins" in bench.read("run_driver.txt")


def test_without_a_limit_there_is_nothing_to_drain_for(slurm: SlurmBed, bench: Bench) -> None:
    bench.file("Tasks", "until [ -e go ]; do sleep 0.1; done\n" * 10)
    job = submit(slurm, bench, PROGRAM + " --drain-before 54 -p run Tasks")
    log = bench.path / "run_driver.txt"
    # Slurm sometimes says that there is no limit, and sometimes that it is a year
    slurm.wait(lambda: log.exists() and "draining begins" in log.read_text(), "it is told", 30)
    bench.file("go", "")
    slurm.wait_job(job, "COMPLETED", seconds=40)


def test_a_time_limit_that_comes_near_is_noticed(slurm: SlurmBed, bench: Bench) -> None:
    """The end is asked for again and again, as it can be moved."""
    bench.file("Tasks", "touch on; until [ -e go ]; do sleep 0.1; done\ntouch never\n")
    quick = (
        ENVIRONMENT
        + f"exec {sys.executable} -c 'import disbatch.runtime.settings as s; s.DRAIN_LOOK_S = 0.5; from disbatch.cli import program; program()'"
    )
    job = slurm.sbatch("-n1", "--time=10", script=quick + " --drain-before 60 -p run Tasks", cwd=bench.path)
    log = bench.path / "run_driver.txt"
    slurm.wait((bench.path / "on").exists, "the first task runs", 30)
    slurm.wait(lambda: "draining begins" in log.read_text(), "the end is known", 30)
    slurm.ends_in(job, 61)
    slurm.wait(lambda: "nothing more is started" in output(bench, job), "it drains", 30)
    bench.file("go", "")
    slurm.wait_job(job, "FAILED", seconds=30)
    assert bench.done() == [0] and not (bench.path / "never").exists()


def test_a_grace_longer_than_slurm_leaves_is_cut_and_kill_still_comes_from_us(
    slurm: SlurmBed, bench: Bench
) -> None:
    """KILL comes from Slurm KillWait after its TERM; by then all has to be written."""
    bench.file("Tasks", "trap '' TERM; touch $DISBATCH_TASKID.on; while true; do sleep 1; done\n" * 4)
    job = submit(slurm, bench, PROGRAM + " --grace 60 -p run Tasks")
    slurm.wait(lambda: len(list(bench.path.glob("*.on"))) == 4, "all tasks run", 30)
    slurm.cancel(job)
    slurm.wait_job(job, OVER, seconds=30)
    slurm.wait(lambda: "To go on from here" in output(bench, job), "the driver has come to its end", 30)
    said = output(bench, job)
    assert f"--grace 60: Slurm sends KILL {KILL_WAIT_S} s after TERM" in said
    assert bench.rows() == [] and "-r run_status.txt" in resume_command(bench, job)


def test_a_requeued_job_goes_on_by_itself(slurm: SlurmBed, bench: Bench) -> None:
    bench.file(
        "Tasks",
        "echo >> $DISBATCH_TASKID.done\n" * 6
        + "until [ -e go ]; do sleep 0.1; done; echo >> $DISBATCH_TASKID.done\n" * 6,
    )
    job = submit(slurm, bench, PROGRAM + " Tasks", "--requeue", "--open-mode=append")
    name = f"Tasks_{job}_status.txt"
    slurm.wait(
        lambda: (bench.path / name).exists() and len(bench.done(name)) == 6,
        "the quick tasks are recorded",
        30,
    )
    slurm.command("scontrol", "requeue", str(job))
    slurm.wait_job(job, "PENDING", seconds=40)
    bench.file("go", "")
    # Slurm revokes the credentials of the second in which it requeued: a start in that same second is refused by its nodes.
    slurm.command("scontrol", "update", f"JobId={job}", "StartTime=now+3")
    slurm.wait_job(job, "COMPLETED", seconds=60)
    assert f"job {job} was requeued (restart 1): it goes on from ./{name}" in output(bench, job)
    assert times_done(bench, 12) == [1] * 12
    assert bench.done(f"Tasks_{job}.2_status.txt") == list(range(12))


def test_a_job_that_joined_a_run_drains_alone_and_the_next_goes_on(slurm: SlurmBed, bench: Bench) -> None:
    """Short jobs work in turn for a run that waits for them."""
    task = "echo >> $DISBATCH_TASKID.begun; sleep 0.5; echo >> $DISBATCH_TASKID.done\n"
    run = bench.start("-S", "-p", "run", tasks=task * 60, env=slurm.environ)
    run.until_exists("run_kvsinfo.txt")
    options = ("-N2", "-n2", "--ntasks-per-node=1")
    first = slurm.sbatch(*options, "--time=1", "run_dbUtil.sh", "--drain-before", "54", cwd=bench.path)
    slurm.wait_job(first, "COMPLETED", seconds=40)
    assert "the job ends in less than 54 s (--drain-before)" in output(bench, first)
    after_first = len(bench.done())
    assert 2 <= after_first < 60 and len(list(bench.path.glob("*.begun"))) == after_first
    second = slurm.sbatch("-N3", "-n12", "run_dbUtil.sh", cwd=bench.path)
    assert run.end(60).code == 0, run.logs()
    slurm.wait_job(second, "COMPLETED", seconds=40)
    assert times_done(bench, 60) == [1] * 60


def test_a_node_that_dies_costs_a_job_with_no_kill_only_that_node(own_slurm: SlurmBed, bench: Bench) -> None:
    task = "echo >> $SLURMD_NODENAME.begun; [ $SLURMD_NODENAME = node1 ] || sleep 1000; "
    bench.file("Tasks", (task + "until [ -e node2.begun ]; do sleep 0.05; done\n") * 3)
    command = PROGRAM + " --lease 3 -p run Tasks"
    job = own_slurm.sbatch("--no-kill", "-N2", "-n2", script=ENVIRONMENT + "exec " + command, cwd=bench.path)
    own_slurm.wait((bench.path / "node2.begun").exists, "a task runs on node2", 40)
    own_slurm.crash("node2")
    own_slurm.wait(lambda: " failed; " in output(bench, job), "the run has ended", 60)
    assert bench.done() == [0, 1, 2] and {row.node for row in bench.rows()} == {"node1"}
    assert "the engine on node2 was lost with 1 task running" in output(bench, job)
