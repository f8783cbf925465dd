"""What a machine withholds is said in one line; a defect of disBatch keeps its traceback."""

import errno

import pytest

from disbatch.runtime.fatal import in_words
from disbatch.runtime.shortage import shortage


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (MemoryError(), "ulimit -v"),
        (ImportError("libx.so: failed to map segment from shared object"), "ulimit -v"),
        (ModuleNotFoundError("No module named 'msgspec'"), "No module named 'msgspec'"),
        (SyntaxError("invalid syntax"), "broken"),
        (LookupError("unknown encoding: idna"), "unknown encoding: idna"),
        (RuntimeError("can't start new thread"), "ulimit -u"),
        (BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable"), "ulimit -u"),
        (OSError(errno.EMFILE, "Too many open files", "/x"), "Too many open files: /x"),
    ],
)
def test_words(error: Exception, words: str) -> None:
    assert words in in_words(error) and "\n" not in in_words(error)


@pytest.mark.parametrize("error", [RuntimeError("dictionary changed size"), ValueError("x"), KeyError(20)])
def test_no_words_for_a_defect(error: Exception) -> None:
    assert in_words(error) == "" == shortage(error)


def test_shortages_pass() -> None:
    assert shortage(OSError(errno.EMFILE, "Too many open files")) == "Too many open files"
    assert shortage(RuntimeError("can't start new thread")) and shortage(MemoryError())
    assert not shortage(OSError(errno.ENOENT, "No such file or directory")) and not shortage(None)
