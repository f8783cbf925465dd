"""Snippets of leaked output: however the bytes arrive, count and text are those of the whole."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disbatch.runtime.capture import Capture


def snippet(data: bytes) -> str:
    """The rule as the format page says it."""
    if len(data) > 40:
        data = data[:40] + b"..." + data[-min(len(data) - 40, 40) :]
    return data.decode("utf-8", "replace")


def capture(chunks: list[bytes]) -> Capture:
    made = Capture()
    for chunk in chunks:
        made.feed(chunk)
    return made


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8))
def test_any_pieces_give_what_the_whole_gives(chunks: list[bytes]) -> None:
    got = capture(chunks)
    assert got.count == sum(map(len, chunks))
    assert got.snippet() == snippet(b"".join(chunks))


@pytest.mark.parametrize("size", [0, 1, 39, 40, 41, 42, 79, 80, 81, 1000])
@pytest.mark.parametrize("piece", [1, 3, 40, 1000])
def test_sizes_around_the_edges(size: int, piece: int) -> None:
    data = bytes(i % 251 for i in range(size))
    got = capture([data[i : i + piece] for i in range(0, size, piece)])
    assert (got.count, got.snippet()) == (size, snippet(data))


def test_the_sample_of_the_format_page() -> None:
    data = "".join(f"{i:04d} " for i in range(200)).encode()
    expected = "0000 0001 0002 0003 0004 0005 0006 0007 ...0192 0193 0194 0195 0196 0197 0198 0199 "
    assert capture([data]).snippet() == expected


def test_bytes_are_cut_before_they_are_decoded() -> None:
    data = b"x" * 39 + "é".encode() + b"y"  # 42 bytes: the first 40 end within the é
    assert capture([data]).snippet() == "x" * 39 + "\ufffd...\ufffdy"


def test_memory_stays_bounded() -> None:
    got = Capture()
    for _ in range(1000):
        got.feed(b"x" * 65536)
    assert got.count == 65_536_000 and len(got.head) + len(got.tail) <= 80
