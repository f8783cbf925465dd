"""The helpers of the live tests can fail: a leftover process is seen, a condition that never holds ends with the logs."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from disbatch_runs import Bench, kill_all, processes_of, wait_until

from kvsstcp.client import Client
from kvsstcp.values import Value


@pytest.mark.parametrize("by_folder", [False, True])
def test_a_leftover_process_is_seen(tmp_path: Path, by_folder: bool) -> None:
    env = {} if by_folder else {"TEST_MARK": str(tmp_path)}
    process = subprocess.Popen(["/bin/sleep", "1000"], cwd=tmp_path if by_folder else "/", env=env)
    try:
        wait_until(lambda: processes_of(str(tmp_path)) == [process.pid], "it is seen", seconds=5)
    finally:
        kill_all(processes_of(str(tmp_path)))
        process.kill()
        process.wait()
    assert processes_of(str(tmp_path)) == []


def test_waiting_for_what_never_comes_fails_with_the_logs() -> None:
    with pytest.raises(AssertionError, match=r"the moon falls(.|\n)*the log says no"):
        wait_until(lambda: False, "the moon falls", seconds=0.05, logs=lambda: "the log says no")


def test_waiting_ends_with_the_run(bench: Bench) -> None:
    run = bench.start("--version")
    with pytest.raises(AssertionError, match="has ended before: pigs fly"):
        run.until(lambda: False, "pigs fly")
    assert run.end().code == 0


def test_a_torn_line_is_seen(bench: Bench) -> None:
    bench.file("run_status.txt", "    \t0\t1")
    with pytest.raises(AssertionError, match="torn"):
        bench.rows()


def test_the_benchmark_of_scale_runs() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "scale.py"
    sizes = ["--engines", "1,2", "--tasks", "2000", "--rate", "2000"]
    done = subprocess.run([sys.executable, script, *sizes], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "CPU a task, largest : smallest = " in done.stdout


@pytest.mark.skipif(shutil.which("cc") is None, reason="there is no C compiler (cc)")
@pytest.mark.parametrize("kind", ["floor", "floor-whole"])
def test_the_least_server_answers_what_it_is_asked(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from kvsload import ServerProcess

    server, value = ServerProcess(kind, ""), Value(b"ASTR", b"x" * 100)
    try:
        for _ in range(2):  # one client after the other
            with Client(server.info, timeout_s=10) as client:
                for _ in range(50):
                    client.put("key0", value)
                    assert client.get("key0") == value
        assert server.cpu_s() > 0
    finally:
        server.stop()


def test_the_least_that_tls_costs_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    from kvsload import openssl_us

    small, large = (min(openssl_us(200, size) for _ in range(3)) for size in (100, 16_000))
    assert 0 < small < large, "what is encrypted is not in it"


def test_the_benchmark_of_ten_million_lines_runs() -> None:
    script = Path(__file__).parents[2] / "benchmarks" / "tenmillion.py"
    sizes = ["--lines", "4000", "--engines", "1"]
    done = subprocess.run([sys.executable, script, *sizes], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert (
        "4000 lines on 1 engines" in done.stdout
        and done.stdout.count("reached)") + done.stdout.count("REACHED)") == 3
    )
