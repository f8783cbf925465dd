"""Where every program of disBatch begins: the import path first, then signals, then the program itself.

What goes wrong outside of anything that a program handles itself ends here, in one line. Only what the interpreter has loaded
itself is imported at the top: the import path has to be right before.
"""

import os
import sys

from disbatch import importpath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

OLDEST = (3, 11)
# the exit code of a program that cannot begin, as `runtime.fatal` has it
UNLOADED = 3


def disbatch() -> "NoReturn":
    """The command `disBatch`, also `python -m disbatch`."""
    importpath.arrange()
    _run("disBatch", _disbatch)


def below() -> "NoReturn":
    """disBatch below a Python program that uses it."""
    importpath.arrange()
    _run("disBatch", _below)


def ctl() -> "NoReturn":
    """The command `disbatch-ctl`."""
    importpath.arrange()
    _run("disbatch-ctl", _ctl)


def script() -> "NoReturn":
    """What `PREFIX_dbUtil.sh` starts."""
    importpath.adopt()
    _run("disbatch-ctl", _ctl)


def report() -> "NoReturn":
    """The command `disbatch-report`."""
    importpath.arrange()
    _run("disbatch-report", _report)


def monitor() -> "NoReturn":
    """`python -m disbatch.monitor`."""
    importpath.arrange()
    _run("disbatch-ctl", _monitor)


def engine() -> "NoReturn":
    """An engine on another host: see `runtime.remote`."""
    importpath.adopt()
    _run("disBatch", _engine)


def sweep() -> "NoReturn":
    """A sweep of another host: see `runtime.sweep`."""
    importpath.adopt()
    _run("disBatch", _sweep)


def _run(name: str, program: "Callable[[], int]") -> "NoReturn":
    if sys.version_info < OLDEST:
        found = sys.version.split()[0]
        sys.exit("disBatch needs Python %d.%d or newer, but %s is %s" % (*OLDEST, sys.executable, found))
    try:
        from disbatch.runtime.fatal import in_words, leave_with_words
        from disbatch.runtime.process_setup import begin_process
    except Exception as error:
        _leave_unloaded(name, error)
    try:
        begin_process()
        code = program()
    except Exception as error:
        # The top of the process. What the frames hold would be missing for the words.
        words = in_words(error.with_traceback(None) if isinstance(error, MemoryError) else error)
        if not words:
            raise
        leave_with_words(name, words)
    sys.exit(code)


def _leave_unloaded(name: str, error: Exception) -> "NoReturn":
    """Not even the words for errors can be loaded: end the process with those of the error itself."""
    what = " ".join(str(error).split())
    text = f"{name}: error: this installation of disBatch cannot be loaded: {what}; {sys.executable}\n"
    try:
        os.write(2, text.encode("utf-8", "backslashreplace"))
    finally:
        os._exit(UNLOADED)


def _disbatch() -> "NoReturn":
    from disbatch.cli import program

    program()


def _below() -> "NoReturn":
    from disbatch.cli import program_below

    program_below()


def _ctl() -> "NoReturn":
    from disbatch.ctl import program

    program()


def _report() -> "NoReturn":
    from disbatch.report.program import program

    program()


def _monitor() -> int:
    from disbatch.ctl import main

    return main(["--mon", *sys.argv[1:]])


def _engine() -> int:
    from disbatch.runtime.remote import main

    return main()


def _sweep() -> int:
    from disbatch.runtime.sweep import main

    return main()
