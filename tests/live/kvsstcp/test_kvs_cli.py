"""The command line: server and client options, exit codes, files and their modes, a feeding program in bash."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

PYTHON = [sys.executable, "-m", "kvsstcp"]
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("KVSSTCP_")}


def run(*words: str, **more: str) -> "subprocess.CompletedProcess[str]":
    environment = {**ENVIRONMENT, "KVS": " ".join([*PYTHON, "client"]), **more}
    return subprocess.run([*PYTHON, *words], capture_output=True, text=True, timeout=60, env=environment)


def with_server(script: str, *options: str) -> "subprocess.CompletedProcess[str]":
    return run("server", "-H", "127.0.0.1", *options, "-e", script)


@pytest.mark.parametrize("options", [["--plain"], []])
def test_operations_are_done_in_order(options: list[str]) -> None:
    ran = with_server("$KVS -p a 1 -p a 2 -v a -g a -g a -E abcd -m M :p -p b x -g M", *options)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout == "2\n1\n2\n(b'put', b'b')\n"


def test_json() -> None:
    ran = with_server("""$KVS -p a text -E AB12 -p x y; $KVS --json -p j '{"a": [1]}' -g a -g j -g x -d""")
    first, second, third, dump = ran.stdout.splitlines()
    assert json.loads(first) == {"coding": "AB12", "base64": "dGV4dA=="} and json.loads(second) == {"a": [1]}
    assert json.loads(third)["coding"] == "AB12" and json.loads(dump)["values"] == []
    assert with_server("$KVS --json -p j '{'").returncode == 2


def test_exit_codes() -> None:
    assert with_server("$KVS -T 0.1 -g nothing").returncode == 1
    assert with_server("exit 7").returncode == 7
    assert run("client", "127.0.0.1:1", "-g", "k").returncode == 3
    assert run("client", "nonsense", "-g", "k").returncode == 2
    assert run("client", "-g", "k").returncode == 2, "no address anywhere"
    assert run("client", "127.0.0.1:1").returncode == 2, "nothing to do"
    assert run("server").returncode == 2, "nobody could learn the token"
    assert run("nothing").returncode == 2 and run("--help").returncode == 0
    assert run("server", "-H", "127.0.0.1", "-p", "1", "--info-file", "/nowhere/i").returncode == 3


ERRORS = (
    ("server --plain -H 127.0.0.1 -l /nowhere/log", 3, "/nowhere/log"),
    ("server --plain -H 127.0.0.1 -a /nowhere/a", 3, "/nowhere/a"),
    ("server --plain -p 99999", 2, "99999"),
    ("server --plain -H nowhere.invalid", 3, "nowhere.invalid"),
    ("client nonsense -g k", 2, "no info file"),
    ("client /nowhere/info -g k", 1, "/nowhere/info"),
    ("client 127.0.0.1:1 -g k", 3, "127.0.0.1:1"),
    ("client 127.0.0.1:1 -p k v -E long", 3, "127.0.0.1:1"),
    ("client 127.0.0.1:1 -p k v -E longer", 2, "longer"),
    ("client 127.0.0.1:1 -g k -T soon", 2, "soon"),
    ("client 127.0.0.1:1 -g k -T nan", 2, "nan"),
    ("client 127.0.0.1:1 -g k -T=-1", 2, "-1"),
    ("client 127.0.0.1:1 -g k -T inf", 3, "127.0.0.1:1"),
)


@pytest.mark.parametrize(("words", "code", "named"), ERRORS)
def test_errors_are_one_line_that_names_the_cause(words: str, code: int, named: str) -> None:
    ran = run(*words.split())
    assert ran.returncode == code and named in ran.stderr.splitlines()[-1]
    assert code == 2 or len(ran.stderr.splitlines()) == 1, ran.stderr
    assert "Traceback" not in ran.stderr


def test_errors_of_an_operation_name_it() -> None:
    ran = with_server("$KVS -p a 1 -T 0.1 -g a -g nothing", "--plain")
    assert ran.stdout == "1\n" and "get nothing: no answer in time" in ran.stderr
    assert with_server("$KVS -T 1e300 -p a 1 -g a").stdout == "1\n"
    ran = with_server("$KVS $KVSSTCP_HOST:$KVSSTCP_PORT -g a")
    assert "get a:" in ran.stderr and "info file" in ran.stderr, "a closed server, asked in plain"


def test_files(tmp_path: Path) -> None:
    info, address, log = tmp_path / "info", tmp_path / "address", tmp_path / "log"
    script = f"stat -c %a {info}; cat {address}; echo $KVSSTCP_HOST:$KVSSTCP_PORT; echo $KVSSTCP_INFO; $KVS {info} -p a b -g a"
    ran = with_server(script, "--info-file", str(info), "-a", str(address), "-l", str(log))
    mode, first, second, named, got = ran.stdout.splitlines()
    assert (mode, first, named, got) == ("600", second, str(info), "b") and first.startswith("127.0.0.1:")
    assert "serving at 127.0.0.1" in log.read_text() and not info.exists()
    assert "token" not in log.read_text() and ran.stderr == ""


def test_down_ends_the_server_and_old_addresses_serve_plain(tmp_path: Path) -> None:
    address = tmp_path / "address"
    command = [*PYTHON, "server", "-H", "127.0.0.1", "--plain", "-a", str(address), "-l", os.devnull]
    server = subprocess.Popen(command)
    end = time.monotonic() + 20
    while not (address.exists() and address.read_text().endswith("\n")):
        assert time.monotonic() < end, "no address file"
        time.sleep(0.01)
    host, port = address.read_text().strip().split(":")
    assert run("client", "-p", "a", "1", KVSSTCP_HOST=host, KVSSTCP_PORT=port).returncode == 0
    assert run("client", str(address), "--plain", "-g", "a").stdout == "1\n"
    assert run("client", f"{host}:{port}", "-S").returncode == 0
    assert server.wait(10) == 0


def test_no_secret_in_arguments_or_environment() -> None:
    script = "tr '\\0' '\\n' < /proc/$PPID/cmdline; env; cat /proc/$PPID/environ; echo; sed -n 's/^token //p' $KVSSTCP_INFO"
    *shown, token = with_server(script).stdout.splitlines()
    assert len(token) == 64 and token not in "\n".join(shown) and "PRIVATE KEY" not in "\n".join(shown)


FEEDER = r"""
set -e
$KVS -p 'task source name' bashgen -p 'task source done task' DONE \
     -p 'task source result key' res -p 'task source task key' work
for i in 1 2 3; do $KVS -p work "echo $i"; done
$KVS -p work DONE
( for id in 0 1 2; do
    line=$($KVS -g work)
    $KVS -p "res $id" "$(bash -c "$line")" -p 'res done tasks' $id
  done ) &
for i in 1 2 3; do id=$($KVS -T 20 -g 'res done tasks'); $KVS -T 20 -g "res $id"; done
wait
$KVS -g work
"""


def test_a_feeding_program_in_bash() -> None:
    ran = subprocess.run(
        [*PYTHON, "server", "-H", "127.0.0.1", "-e", FEEDER],
        capture_output=True,
        text=True,
        timeout=90,
        env={**ENVIRONMENT, "KVS": " ".join([*PYTHON, "client"])},
    )
    assert ran.stdout == "1\n2\n3\nDONE\n", ran.stderr
