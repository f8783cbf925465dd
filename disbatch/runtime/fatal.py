"""The last words of a program that its machine, or its installation, does not let work: one line instead of a traceback.

Only what no part of the program has handled comes here. It is loaded before anything can fail: later there may be no
memory for it.
"""

import contextlib
import os
import resource
import sys
from typing import NoReturn

EXIT_CODE = 3
TOO_LITTLE_MEMORY = "the memory that this process may use is too small (`ulimit -v` shows the limit)"
TOO_FEW_PROCESSES = "this user may have no more of them, or the machine has no memory for one (`ulimit -u`, `ulimit -v` show the limits)"
NO_FOLDER = "the working folder does not exist any more; change to one that does: tasks run there"


def leave_with_words(name: str, words: str) -> NoReturn:
    """End the process with one line."""
    with contextlib.suppress(OSError):
        os.write(2, os.fsencode(f"{name}: error: {words}\n"))
    os._exit(EXIT_CODE)


def in_words(error: BaseException) -> str:
    """Return what went wrong and what to do, or nothing for what is not the machine's fault."""
    if isinstance(error, MemoryError) or "failed to map segment" in str(error) or _lost_for_memory(error):
        return TOO_LITTLE_MEMORY
    # a codec is a module as well
    if isinstance(error, ImportError | SyntaxError) or _is_codec_missing(error):
        what = " ".join(str(error).split())
        return (
            f"this installation of disBatch, or a package that it needs, is broken: {what}; {sys.executable}"
        )
    if isinstance(error, RuntimeError):
        thread = "can't start new thread" in str(error)
        return "no thread can be started: " + TOO_FEW_PROCESSES if thread else ""
    if isinstance(error, BlockingIOError):
        return "no process can be started: " + TOO_FEW_PROCESSES
    if isinstance(error, FileNotFoundError) and error.filename is None and not _has_folder():
        return NO_FOLDER
    if isinstance(error, OSError):
        where = "" if error.filename is None else f": {os.fsdecode(error.filename)}"
        return f"this machine does not let disBatch work: {error.strerror or error}{where}"
    return ""


def _lost_for_memory(error: BaseException) -> bool:
    """Whether this is what the interpreter makes of an allocation that failed within itself."""
    limited = resource.getrlimit(resource.RLIMIT_AS)[0] != resource.RLIM_INFINITY
    return limited and (isinstance(error, SystemError) or _is_codec_missing(error))


def _is_codec_missing(error: BaseException) -> bool:
    """Return True for a codec that cannot be imported: it is called unknown then."""
    return type(error) is LookupError and "encoding" in str(error)


def _has_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True
