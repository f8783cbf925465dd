"""What is printed: never raising, never waiting, whole sentences, and a status line that does not disturb them."""

import os
import threading
from collections.abc import Iterator

import pytest

from disbatch.output import ERASE_LINE, HIDE_CURSOR, LIMIT_BYTES, SHOW_CURSOR, OutputStream, print_last

PATIENCE_S = 10.0
CLOSED_FD = 9999


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for fd in (reader, writer):
        try:
            os.close(fd)
        except OSError:
            pass


def fill(fd: int) -> int:
    """Fills a pipe; returns how many bytes it has taken."""
    os.set_blocking(fd, False)
    taken = 0
    try:
        while True:
            taken += os.write(fd, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(fd, True)
        return taken


def read_all(reader: int, writer: int) -> bytes:
    os.close(writer)
    data = b""
    while part := os.read(reader, 65536):
        data += part
    return data


def test_without_a_thread_sentences_are_written_at_once(pipe: tuple[int, int]) -> None:
    stream = OutputStream(pipe[1])
    stream.say("one")
    assert os.read(pipe[0], 100) == b"one\n"
    stream.say("ü\udcff")
    assert os.read(pipe[0], 100) == "ü\\udcff\n".encode()


def test_without_a_thread_a_full_pipe_is_not_waited_for(pipe: tuple[int, int]) -> None:
    taken = fill(pipe[1])
    stream = OutputStream(pipe[1])
    stream.say("later")
    os.read(pipe[0], taken)
    stream.use_thread()
    assert stream.flush(PATIENCE_S)
    assert os.read(pipe[0], 100) == b"later\n"


def test_sentences_keep_their_order_and_come_above_the_status_line(pipe: tuple[int, int]) -> None:
    stream = OutputStream(pipe[1])
    stream.use_thread()
    stream.draw("1/9")
    assert stream.flush(PATIENCE_S)
    stream.say("first")
    stream.say("second")
    assert stream.flush(PATIENCE_S)
    stream.draw("2/9")
    stream.keep_status()
    assert stream.flush(PATIENCE_S)
    stream.say("last")
    assert stream.flush(PATIENCE_S)
    shown = read_all(*pipe)
    assert shown.startswith(HIDE_CURSOR + b"1/9" + ERASE_LINE + b"first\n")
    assert b"second\n" in shown and shown.index(b"first") < shown.index(b"second") < shown.index(b"2/9")
    assert shown.endswith(b"2/9\n" + SHOW_CURSOR + b"last\n") and shown.count(HIDE_CURSOR) == 1


def test_frames_that_nobody_takes_are_replaced(pipe: tuple[int, int]) -> None:
    taken = fill(pipe[1])
    stream = OutputStream(pipe[1])
    stream.use_thread()
    for number in range(1000):
        stream.draw(f"frame {number}")
    assert not stream.flush(0.01)
    read = b""
    while len(read) < taken:
        read += os.read(pipe[0], taken - len(read))
    assert stream.flush(PATIENCE_S)
    shown = read_all(*pipe)
    assert b"frame 999" in shown and shown.count(b"frame") <= 2


def test_sentences_are_kept_up_to_a_bound_and_then_counted(pipe: tuple[int, int]) -> None:
    taken = fill(pipe[1])
    stream = OutputStream(pipe[1])
    stream.use_thread()
    sentence = "y" * 99_999
    for _ in range(20):
        stream.say(sentence)
    shown = b""
    while not shown.endswith(b"were not shown here\n"):
        shown += os.read(pipe[0], 1 << 20)
    kept = (len(shown) - taken) // 100_000
    assert LIMIT_BYTES // 100_000 <= kept < 20
    assert f"disBatch: {20 - kept} messages were not shown here".encode() in shown


def test_after_the_first_error_it_is_silent_and_says_so_once() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        stream = OutputStream(full.fileno())
        stream.say("before there is a thread")
        told: list[str] = []
        stream.use_thread(told.append)
        stream.say("lost")
        stream.draw("lost")
        stream.keep_status()
        assert not stream.flush(PATIENCE_S)
        assert told == ["No space left on device"] == [stream.failure]


def test_an_error_in_the_thread_is_told_once(pipe: tuple[int, int]) -> None:
    stream = OutputStream(pipe[1])
    told: list[str] = []
    stream.use_thread(told.append)
    stream.say("read")
    assert stream.flush(PATIENCE_S)
    os.close(pipe[0])
    for _ in range(3):
        stream.say("lost")
        assert not stream.flush(PATIENCE_S)
    assert told == ["Broken pipe"]


def test_last_words_wait_for_nobody_for_long(pipe: tuple[int, int]) -> None:
    fill(pipe[1])
    print_last(pipe[1], ["never"], 0.05)
    print_last(CLOSED_FD, ["no such descriptor"], 0.05)


def test_where_no_thread_is_to_be_had_it_writes_what_the_pipe_takes(
    pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    told: list[str] = []
    stream = OutputStream(pipe[1])
    stream.use_thread(told.append)
    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", no_thread)
        stream.draw("1/9")
        stream.say("one")
        assert stream.flush(PATIENCE_S)
        shown = os.read(pipe[0], 100)
        assert shown.startswith(HIDE_CURSOR + b"1/9") and shown.endswith(b"one\n1/9")
        taken = fill(pipe[1])
        stream.say("two")
        assert not stream.flush(0.1)
    stream.say("three")
    os.read(pipe[0], taken)
    assert stream.flush(PATIENCE_S) and told == []
    shown = read_all(*pipe)
    assert shown.index(b"two\n") < shown.index(b"three\n")
