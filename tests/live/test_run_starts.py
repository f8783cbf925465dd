"""What a parent, a working folder or a limit may spoil before a run begins: it works all the same, or ends with one line."""

import shlex
import sys
from pathlib import Path

import pytest
from disbatch_runs import PYTHON, ROOT, Bench, Result
from test_run_descriptors import fake_ssh
from test_run_stress import AS_NOBODY, PROGRAM, needs_root, open_bench

__all__ = ["open_bench"]  # a fixture

# Modules of the standard library that nothing has imported when a program begins.
NAMES = ("queue", "random", "argparse", "json", "tempfile", "signal", "asyncio", "resource", "socket", "ssl")
# Those without which `python -m` does not get as far as to us.
EARLY = ("types", "enum", "re", "functools", "typing", "contextlib", "warnings")
SCRIPT = [str(ROOT / "scripts/disBatch")]
MODULE = PYTHON
FILE = [sys.executable, str(ROOT / "disbatch/disBatch.py")]
COMMAND = [str(Path(sys.executable).parent / "disBatch")]


def litter(bench: Bench, names: tuple[str, ...]) -> None:
    """Files in the working folder that must not be imported."""
    for name in names:
        bench.file(
            f"{name}.py", f"open({f'{bench.path}/imported'!r}, 'a').write('{name} '); raise SystemExit(9)\n"
        )
    for package in ("rich", "msgspec", "psutil", "cryptography"):
        folder = bench.path / package
        folder.mkdir()
        (folder / "__init__.py").write_text("this package is broken\n")


def one_line(result: Result, *words: str, code: int = 3) -> None:
    assert result.code == code, result
    assert result.out == "" and len(result.err.splitlines()) == 1, result.err
    assert result.err.startswith("disBatch: error: ")
    for word in words:
        assert word in result.err


# -- modules in the working folder


@pytest.mark.parametrize("path", [":/x", ".", "{folder}:/x"])
@pytest.mark.parametrize(
    ("program", "names"),
    [(SCRIPT, NAMES + EARLY), (FILE, NAMES + EARLY), (MODULE, NAMES), (COMMAND, NAMES)],
    ids=["scripts/disBatch", "disBatch.py", "-m disbatch", "disBatch"],
)
def test_nothing_is_imported_from_the_working_folder(
    bench: Bench, program: list[str], names: tuple[str, ...], path: str
) -> None:
    litter(bench, names)
    fake_ssh(bench)
    given = path.format(folder=bench.path)
    if program is MODULE:
        given += f":{ROOT}"
    bench.file("Tasks", 'echo "$PYTHONPATH" > $DISBATCH_TASKID.path; sleep 0.2\n' * 2)
    result = bench.run(
        "-s", "localhost:1,other:1", "-p", "run", "Tasks", program=program, env={"PYTHONPATH": given}
    )
    assert not (bench.path / "imported").exists(), bench.read("imported")
    assert result.code == 0 and len(bench.done()) == 2, result.err + bench.logs()
    assert [bench.read(f"{number}.path") for number in range(2)] == [given + "\n"] * 2


def test_neither_by_the_script_of_a_run(bench: Bench) -> None:
    litter(bench, NAMES + EARLY)
    env = {"PYTHONPATH": ":."}
    bench.file("Tasks", 'echo "$PYTHONPATH" > path\n')
    run = bench.start("-S", "-p", "run", "Tasks", program=SCRIPT, env=env)
    run.until_exists("run_kvsinfo.txt")
    joined = bench.start("-s", "localhost:1", program=["./run_dbUtil.sh"], env=env)
    assert joined.end().code == 0, joined.logs()
    assert run.end().code == 0 and bench.read("path") == ":.\n"
    assert not (bench.path / "imported").exists(), bench.read("imported")


def test_neither_by_a_program_that_uses_the_classes(bench: Bench) -> None:
    """Its own path is its own business; the driver that it starts is protected."""
    litter(bench, NAMES + EARLY)
    program = bench.io("program.py")
    program.write_text(
        "import sys\nbefore = list(sys.path)\nfrom disbatch import Executor\n"
        "with Executor('localhost:1') as executor:\n"
        "    done = executor.submit('true').result()\n"
        "assert sys.path == before\n"
        "print(done.returncode)\n"
    )
    bench.env["PYTHONPATH"] = str(ROOT)
    code = f"import os, runpy; os.environ['PYTHONPATH'] = ':.'; runpy.run_path({str(program)!r})"
    result = bench.run("-P", "-c", code, program=[sys.executable])
    assert (result.code, result.out) == (0, "0\n"), result.err
    assert not (bench.path / "imported").exists(), bench.read("imported")


def test_packages_on_pythonpath_are_found(bench: Bench, tmp_path: Path) -> None:
    """Module systems install there; engines elsewhere find them too, without the variable."""
    folder = tmp_path / "more"
    folder.mkdir()
    (folder / "only_there.py").write_text("")
    bench.env["PYTHONPATH"] = f"{folder}:{ROOT}"
    code = (
        "from disbatch import importpath as p; p.arrange(); import subprocess, sys, only_there; "
        "found = p.bootstrap('sweep')[3].replace('; sweep()', ''); "
        'more = \'import importlib.util as u; programs = sys.modules["disbatch.programs"]; '
        'programs.importpath.adopt(); print(bool(u.find_spec("only_there")), sys.argv)\'; '
        "words = found.replace('import sweep', 'import sweep; ' + more); "
        "sys.exit(subprocess.call([sys.executable, '-I', '-c', words, *p.arguments(p.ROOT), 'last'], env={}))"
    )
    result = bench.run("-c", code, program=[sys.executable])
    assert (result.code, result.out) == (0, "True ['-c', 'last']\n"), result.err


def test_a_broken_package_is_one_line(bench: Bench) -> None:
    """Found where nothing else is: PYTHONPATH is the last resort, and what is there is broken."""
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); sys.modules['msgspec._core'] = None; "
        "from disbatch.programs import disbatch; disbatch()"
    )
    result = bench.run("-c", code, "-s", "localhost:1", program=[sys.executable], tasks="true\n")
    one_line(result, "msgspec", "broken", sys.executable)


# -- what a parent has left


@pytest.mark.parametrize("program", [SCRIPT, MODULE], ids=["scripts/disBatch", "-m disbatch"])
def test_a_parent_that_ignores_its_children(bench: Bench, program: list[str]) -> None:
    ignoring = ["perl", "-e", '$SIG{CHLD}="IGNORE"; exec @ARGV', "--", *program]
    fake_ssh(bench)
    bench.file("Tasks", "exit 3\nsleep 0.3 & wait $!; exit 4\ntrue\ntrue\n")
    result = bench.run("-s", "localhost:1,other:1", "-p", "run", "Tasks", program=ignoring)
    assert result.code == 0 and result.err == "", result.err + bench.logs()
    assert sorted(row.returncode for row in bench.rows()) == [0, 0, 3, 4]


def test_a_parent_that_blocks_signals(bench: Bench) -> None:
    code = (
        "import os, signal, sys; signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals()); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    blocking = [sys.executable, "-c", code, *MODULE]
    bench.file("Tasks", "grep SigBlk /proc/self/status > mask; sleep 1000\n")
    run = bench.start("-s", "localhost:1", "-p", "run", "Tasks", program=blocking)
    run.until(lambda: (bench.path / "mask").exists() and bench.read("mask"), "the task runs")
    assert int(bench.read("mask").split()[1], 16) == 0
    run.signal(15)
    assert run.end(10).code == 143


def test_a_terminal_that_goes_away_stays_ignored(bench: Bench) -> None:
    bench.file("Tasks", "grep SigIgn /proc/$PPID/status > mask\n")
    result = bench.run("-s", "localhost:1", "-p", "run", "Tasks", program=["nohup", *MODULE])
    assert result.code == 0


def test_disbatch_py_is_the_program_of_old(bench: Bench) -> None:
    result = bench.here(1, tasks="echo > done\n", program=FILE)
    assert result.code == 0 and "1 task: 1 ok" in result.out and (bench.path / "done").exists()
    shown = bench.run(
        "-c", "from disbatch import disBatch as d; print(d.DisBatcher)", program=[sys.executable]
    )
    assert shown.out == "<class 'disbatch.api.batcher.DisBatcher'>\n", shown.err


# -- folders and limits


@pytest.mark.parametrize("prefix", [[], ["-p", "{there}/run"]], ids=["default", "-p"])
@pytest.mark.parametrize("program", [MODULE, FILE], ids=["-m disbatch", "disBatch.py"])
def test_a_working_folder_that_was_deleted(
    bench: Bench, tmp_path: Path, prefix: list[str], program: list[str]
) -> None:
    bench.file("Tasks", "true\n")
    options = [text.format(there=bench.path) for text in prefix]
    command = shlex.join([*program, "-s", "localhost:1", *options, f"{bench.path}/Tasks"])
    gone = tmp_path / "gone"
    gone.mkdir()
    result = bench.run("-c", f"cd {gone}; rmdir {gone}; exec 2>&1; {command}", program=["/bin/bash"])
    lines = [line for line in result.out.splitlines() if "getcwd" not in line]
    assert result.code == 3 and len(lines) == 1, lines
    assert lines[0].startswith("disBatch: error: the working folder does not exist")
    assert sorted(path.name for path in bench.path.iterdir()) == ["Tasks"]


def test_a_run_is_looked_for_where_no_folder_is(bench: Bench, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    look = shlex.join(
        [sys.executable, "-P", "-c", "from disbatch.programs import ctl; ctl()", "run", "--status"]
    )
    result = bench.run("-c", f"cd {gone}; rmdir {gone}; exec 2>&1; {look}", program=["/bin/bash"])
    lines = [line for line in result.out.splitlines() if "getcwd" not in line]
    assert result.code == 3 and len(lines) == 1 and "the working folder does not exist" in lines[0], lines


@needs_root
def test_an_engine_that_cannot_begin_says_why(bench: Bench) -> None:
    """The first thing that it opens is not there."""
    bench.file("Tasks", "touch ran\n")
    script = f"mount -t tmpfs none /dev && exec {PROGRAM} -s localhost:1 -p run Tasks"
    result = bench.run("--mount", "bash", "-c", script, program=["unshare"])
    assert result.code == 3 and not (bench.path / "ran").exists()
    assert "an engine cannot work: this machine does not let disBatch work" in result.err
    assert "/dev/null" in result.err and "Traceback" not in result.err


def test_no_descriptors(bench: Bench) -> None:
    bench.file("Tasks", "touch ran\n")
    script = f"ulimit -n 12; exec {PROGRAM} -s localhost:1 -p run Tasks"
    one_line(bench.run("-c", script, program=["/bin/bash"]), "descriptors", "may have 12", "ulimit -n")
    assert not (bench.path / "ran").exists()


@needs_root
@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_no_processes(open_bench: Bench, processes: int) -> None:
    bench = open_bench
    bench.file("Tasks", "touch ran\n")
    script = f"ulimit -u {processes}; exec {PROGRAM} -s localhost:1 -p run Tasks"
    result = bench.run("bash", "-c", script, program=AS_NOBODY, env={"HOME": str(bench.path)})
    one_line(result, "can be started", "ulimit -u")
    assert not (bench.path / "ran").exists()


@pytest.mark.parametrize("kilobytes", (16_000, 24_500, 32_000, 41_000, 44_000, 48_000, 60_000))
def test_little_memory(bench: Bench, kilobytes: int) -> None:
    """However little it is: all is done, or one line says why not. With less, the interpreter itself does not start."""
    bench.file("Tasks", "true\n")
    script = f"ulimit -v {kilobytes}; exec {PROGRAM} -s localhost:1 -p run Tasks"
    result = bench.run("-c", script, program=["/bin/bash"])
    if result.code == 0:
        assert bench.done() == [0] and result.err == ""
    elif "disBatch" in result.err:
        assert "memory" in result.err or "can be started" in result.err
        one_line(result)
    else:
        assert "libpython" in result.err or "Fatal Python error" in result.err, result.err
