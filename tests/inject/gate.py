"""Runs disBatch, and stops the process that is to be traced until strace has it. Everything before is not traced.

`python gate.py ROOT TARGET FIFO PYTHON [arguments of disBatch]`, where PYTHON is what starts engines on other hosts: `-`, or
a script that runs `python gate.py ROOT TARGET FIFO --python [arguments of python]`. The process writes its id (for a thread: the thread's) to FIFO
and stops itself; whoever reads it attaches strace and sends SIGCONT. So the first call that strace counts is the first
one behind the start of the interpreter, or behind the fork.
"""

import importlib
import os
import signal
import sys
import threading

# the function that forks, and what it forks
FORKS = {"certificate.py": "certificate", "local.py": "guard", "guard.py": "engine"}
THREADS = {"status writer": "writer", "status syncer": "syncer"}
TARGETS = ("driver", *FORKS.values(), *THREADS.values())
SSH_TARGETS = ("ssh-driver", "ssh-guard", "ssh-engine")  # with the engine on another host


def stop(fifo: str) -> None:
    """Return once whoever reads the FIFO lets this thread go on."""
    fd = os.open(fifo, os.O_WRONLY)
    os.write(fd, b"%d %d\n" % (os.getpid(), threading.get_native_id()))
    os.close(fd)
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def watch_forks(target: str, fifo: str) -> None:
    """Stop the process of that name when it has been forked, the first of its name only."""

    def forked() -> None:
        frame = sys._getframe(1)
        if FORKS.get(os.path.basename(frame.f_code.co_filename)) == target and os.path.exists(fifo):
            stop(fifo)

    os.register_at_fork(after_in_child=forked)


def watch_threads(target: str, fifo: str) -> None:
    """Stop the thread of that name when it begins."""
    run = threading.Thread.run

    def stopped_first(thread: threading.Thread) -> None:
        if THREADS.get(thread.name) == target:
            stop(fifo)
        run(thread)

    threading.Thread.run = stopped_first  # type: ignore[method-assign]


def there(target: str, fifo: str) -> None:
    """What `python [-I] -c CODE …` does on another host, with the guard or the engine stopped."""
    while sys.argv.pop(1) != "-c":
        pass
    code = compile(sys.argv.pop(1), "<string>", "exec")
    sys.argv[0] = "-c"
    sys.path[0] = ""
    if target == "guard" and os.path.exists(fifo):
        stop(fifo)
    watch_forks(target, fifo)
    exec(code, {"__name__": "__main__"})


def main() -> None:
    root, target, fifo, python = sys.argv[1:5]
    sys.argv[1:5] = []
    if python == "--python":
        there(target, fifo)
        return
    if python != "-":
        sys.executable = python
    sys.path[0] = root
    # what begins a program, but nothing of the run
    entry = importlib.import_module("disbatch.__main__")
    sys.argv[0] = str(entry.__file__)
    if target == "driver":
        stop(fifo)
    elif target in FORKS.values():
        watch_forks(target, fifo)
    elif target in THREADS.values():
        watch_threads(target, fifo)
    program = vars(entry).get("disbatch") or vars(entry)["program"]
    program()


if __name__ == "__main__":
    main()
