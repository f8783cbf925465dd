"""Lines that are good and probably not meant so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core import oddities
from disbatch.core.oddities import Oddities


def notes(text: bytes) -> list[str]:
    found = Oddities()
    found.feed(text)
    return found.news()


def test_a_line_that_goes_on_nowhere() -> None:
    (one,) = notes(b"echo a\necho b \\\n  c\n")
    assert one.startswith("line 2 ends in a backslash: ")
    (three,) = notes(b"# a comment \\\n\na \\\r\n#DISBATCH REPEAT 3 b \\\nc \\\nd\\\\e\n")
    assert three.startswith("3 lines (the first is line 3) end in a backslash: ")
    assert notes(b"last \\")[0].startswith("line 1 ends")


@pytest.mark.parametrize("text", [b"# a \\\nb\n", b"", b"\n", b"a\\b\n", b"\\\\ x\n"])
def test_no_backslash_at_an_end(text: bytes) -> None:
    assert notes(text) == []


SUFFIX = b"#DISBATCH SUFFIX  > out\n"


@pytest.mark.parametrize(
    "line",
    [b"echo a # b", b"echo a #", b"echo 'x # y' # z", b'echo "a \\" # b" # c', b"a;\t# b", b"#DISBATCH REPEAT 2 echo # x"],
)  # fmt: skip
def test_a_comment_before_a_suffix(line: bytes) -> None:
    (note,) = notes(b"echo # free\n" + SUFFIX + line + b"\n")
    assert note == "line 3 has a comment at the end, and the SUFFIX behind it is a part of it"
    many = notes(SUFFIX + (line + b"\n") * 3)
    assert many[0].startswith("3 lines (the first is line 2) have comments at the end")


@pytest.mark.parametrize(
    "line",
    [b"echo 'a # b'", b'echo "a # b"', b"echo a#b", b"echo \\# b", b"# a # b", b"echo $#", b"echo ${a#b}", b"echo 'x", b"echo $((16#ff))"],
)  # fmt: skip
def test_no_comment(line: bytes) -> None:
    assert notes(SUFFIX + line + b"\n") == []


def test_only_where_a_suffix_holds() -> None:
    assert notes(b"a # b\n" + SUFFIX + b"a\n#DISBATCH SUFFIX\na # b\n#DISBATCH SUFFIX \na # b\n") == []
    assert len(notes(b"#disbatch suffix x\n#DISBATCH suffix > y\nb # c\n")) == 1


def test_line_ends_of_an_old_mac() -> None:
    (note,) = notes(b"echo a\recho b\recho c\r")
    assert "one line with 2 carriage returns" in note and "tr '\\r' '\\n'" in note
    assert notes(b"printf a\rb\n") == []
    assert notes(b"a\r\nb\rc\r\n") == [] and notes(b"a\r\n") == [] and notes(b"a\r") == []


def test_counting_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(oddities, "MOST", 10)
    (note,) = notes(SUFFIX + b"a # b\n" * 50)
    assert note.startswith("more than 10 lines (the first is line 2)")


def test_each_kind_is_said_once() -> None:
    found = Oddities()
    found.feed(b"a \\\n")
    assert len(found.news()) == 1
    found.feed(b"a \\\n")
    assert found.news() == []


@given(
    st.lists(st.sampled_from([b"a", b"b \\", b"c # d", b"", b"# e \\", SUFFIX[:-1], b"#DISBATCH SUFFIX"])),
    st.data(),
)
def test_chunks_make_no_difference(lines: list[bytes], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(lines)))
    whole, parts = Oddities(), Oddities()
    whole.feed(b"".join(line + b"\n" for line in lines))
    for piece in (lines[:cut], lines[cut:]):
        parts.feed(b"".join(line + b"\n" for line in piece))
    assert whole.news() == parts.news()
