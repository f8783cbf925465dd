"""The command line programs of kvsstcp, where nothing can be printed."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kvsstcp.client import Client

PYTHON = [sys.executable, "-m", "kvsstcp"]


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&1 | true", "2>&-"])
@pytest.mark.parametrize(
    "what", ["client -d 127.0.0.1:1", "server --execcmd true --logfile /no/such/folder/log"]
)
def test_errors_keep_their_code(what: str, where: str) -> None:
    command = f"{' '.join(PYTHON)} {what} {where}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
    assert done.returncode == 3 and "Traceback" not in done.stderr + done.stdout


@pytest.mark.parametrize("where", [">/dev/full", "| true"])
def test_a_value_that_cannot_be_printed_is_an_error(tmp_path: Path, where: str) -> None:
    info = tmp_path / "info"
    server = subprocess.Popen([*PYTHON, "server", "--info-file", str(info)], stderr=subprocess.PIPE)
    assert server.stderr is not None
    try:
        server.stderr.readline()
        put = subprocess.run([*PYTHON, "client", "-p", "key", "value", str(info)], timeout=30)
        assert put.returncode == 0
        command = f"{' '.join(PYTHON)} client -g key -v key -T 0.2 {info} {where}; exit ${{PIPESTATUS[0]}}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=30)
        assert done.returncode == 1 and "Traceback" not in done.stderr, done.stderr
    finally:
        server.terminate()
        server.wait()
        server.stderr.close()


def test_a_server_whose_log_nobody_reads_goes_on(tmp_path: Path) -> None:
    """Its standard error is a pipe that is full."""
    info = tmp_path / "info"
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with pytest.raises(BlockingIOError):
        while True:
            os.write(writer, b"x" * 4096)
    os.set_blocking(writer, True)
    server = subprocess.Popen([*PYTHON, "server", "--info-file", str(info)], stderr=writer)
    os.close(writer)
    try:
        deadline = time.monotonic() + 20
        while not info.exists():
            assert time.monotonic() < deadline and server.poll() is None
            time.sleep(0.02)
        for number in range(3):
            with Client(str(info), timeout_s=20) as client:
                client.put(b"key", str(number))
                assert client.get(b"key").data == str(number).encode()
    finally:
        server.terminate()
        server.wait()
        os.close(reader)
