"""Tasks that end their engine on another host: only they are given up, and it is said what ended the engine."""

import pytest
from disbatch_runs import Bench
from sshbed import SshBed


@pytest.mark.parametrize(
    ("signal", "said"), [("-9", "was lost"), ("-TERM", "it got SIGTERM from task 1, process ")]
)
def test_over_ssh(ssh_bed: SshBed, bench: Bench, signal: str, said: str) -> None:
    tasks = f"sleep 0.3\nkill {signal} $PPID; sleep 100\n" + "sleep 0.3\n" * 6
    result = bench.run(
        "-s",
        "nodea:4",
        "-p",
        "run",
        "--lost-limit",
        "2",
        tasks=tasks,
        env={"PATH": ssh_bed.search_path()},
    )
    assert result.code == 0, result.err
    assert {r.task_id: r.returncode for r in bench.rows()} == {**dict.fromkeys(range(8), 0), 1: -100}
    assert said in result.err
