"""A file that is appended to while its disk, its folder and its name come and go: whole batches, in order, each once."""

import contextlib
import errno
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from disbatch.runtime import appendfile
from disbatch.runtime.appendfile import AppendFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder / "status.txt"


@pytest.fixture
def file(path: Path) -> Iterator[AppendFile]:
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL)
    made = AppendFile(fd, str(path))
    made.append(b"one\n")
    yield made
    os.close(fd)


@contextlib.contextmanager
def small() -> Iterator[None]:
    """No file of this process may grow beyond ten bytes. For a moment: the file that the tests' report goes to is one."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    was = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, was)


def fails(file: AppendFile, data: bytes = b"two\n") -> OSError:
    with pytest.raises(OSError) as caught:
        file.append(data)
    return caught.value


def test_what_cannot_be_written_whole_is_taken_off(file: AppendFile, path: Path) -> None:
    with small():
        assert fails(file, b"a line that is too long\n").errno == errno.EFBIG
    assert path.read_bytes() == b"one\n"
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_what_could_not_be_taken_off_is_before_the_next_try(
    file: AppendFile, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken, small():
        broken.setattr(os, "ftruncate", lambda fd, size: os.stat("/nowhere"))
        fails(file, b"a line that is too long\n")
        assert path.read_bytes() == b"one\na line"
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


def test_a_folder_that_is_away_and_comes_back(file: AppendFile, path: Path) -> None:
    away = path.parent.with_name("away")
    path.parent.rename(away)
    assert fails(file).errno == errno.ENOENT
    away.rename(path.parent)
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("left", [None, b"", b"one\n", b"one\nt"])
def test_what_is_there_again_is_completed(file: AppendFile, path: Path, left: bytes | None) -> None:
    """The folder is made anew, or a file system comes back as it was at an earlier moment."""
    file.append(b"two\n")
    path.unlink()
    path.parent.rmdir()
    assert fails(file, b"three\n").errno == errno.ENOENT
    path.parent.mkdir()
    if left is not None:
        path.write_bytes(left)
    file.append(b"three\n")
    assert path.read_bytes() == b"one\ntwo\nthree\n"
    path.unlink()
    file.append(b"four\n")
    assert path.read_bytes() == b"one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize("other", [b"two\n", b"one\nmore\n"])
def test_a_file_of_somebody_else_is_left_alone(file: AppendFile, path: Path, other: bytes) -> None:
    path.unlink()
    path.write_bytes(other)
    assert "another file" in str(fails(file))
    assert path.read_bytes() == other
    path.unlink()
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"


@pytest.mark.parametrize("code", appendfile.REOPEN)
def test_a_descriptor_that_is_no_good_any_more_is_opened_again(
    file: AppendFile, path: Path, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its own lines cannot be read either; the file that is there now is known by its size and its end."""
    path.write_bytes(path.read_bytes())
    stale, fd = True, file.fd
    write, read, dup2 = os.write, os.pread, os.dup2

    def broken(function):
        def call(number, *more):
            if stale and number == fd:
                raise OSError(code, os.strerror(code))
            return function(number, *more)

        return call

    def mended(old, new, **more):
        nonlocal stale
        stale = False
        return dup2(old, new, **more)

    monkeypatch.setattr(os, "write", broken(write))
    monkeypatch.setattr(os, "pread", broken(read))
    monkeypatch.setattr(os, "dup2", mended)
    assert fails(file).errno == code
    whole = path.with_name("whole")
    whole.write_bytes(path.read_bytes())
    short = path.with_name("short")
    short.write_bytes(b"one")
    short.rename(path)
    assert "another file" in str(fails(file))
    whole.rename(path)
    file.append(b"two\n")
    assert path.read_bytes() == b"one\ntwo\n"
