"""Names of others are shown without control characters, and words so that bash reads them back."""

import shlex
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disbatch.core.printable import is_plain, printable, printable_message, shell_line, shell_word

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
ANY_BYTES = st.binary(max_size=40).map(lambda b: b.replace(b"\0", b"").decode("utf-8", "surrogateescape"))
WORDS = st.one_of(
    ANY_BYTES,
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20),
    st.text("\n\t\r\x1b\x01\x7f\x80\x9b\u202e\ufeff\udcff\udc80\\'\"!$`aF09 é", max_size=12),
)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x00\x7f", "\\x1b[31mred\\x00\\x7f"),
        ("\x85\x9b", "\\u0085\\u009b"),
        ("exe\u202etxt.sh", "exe\\u202etxt.sh"),
        ("\u2028\u2029\ufeff", "\\u2028\\u2029\\ufeff"),
        ("caf\udce9", "caf\\xe9"),
        ("\ud800\udfff", "\\ud800\\udfff"),
        ("back\\slash", "back\\slash"),
        ("né à 東京 👩\u200d🔬 no\u00a0break", "né à 東京 👩\u200d🔬 no\u00a0break"),
        ("", ""),
    ],
)
def test_what_is_escaped_and_what_is_not(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_each_control_character_is_escaped() -> None:
    controls = [chr(n) for n in range(0x110000) if unicodedata.category(chr(n)) in ("Cc", "Cs", "Zl", "Zp")]
    for c in [*controls, *BIDI, "\ufeff"]:
        assert printable(c).isascii() and printable(c).isprintable() and printable(c) != c
        assert not is_plain(f"a{c}b")


@given(st.text("".join(map(chr, range(0x20, 0x7F)))))
def test_printable_ascii_stays_as_it_is(text: str) -> None:
    assert printable(text) == text == printable_message(text)


@given(WORDS)
def test_what_is_shown_has_no_control_character_and_stays_when_shown_again(text: str) -> None:
    shown = printable(text)
    assert all(unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp") for c in shown)
    assert not set(shown) & {*BIDI, "\ufeff"}
    assert printable(shown) == shown
    assert (shown == text) == is_plain(text)


def test_a_message_keeps_its_own_lines_and_no_others() -> None:
    said = "cannot read run\nforged:\n    line 2 \x1b[2J\n    line 3\n  x\n"
    assert printable_message(said) == "cannot read run\\nforged:\n    line 2 \\x1b[2J\n    line 3\\n  x\\n"


@settings(max_examples=40)
@given(st.lists(WORDS, min_size=1, max_size=200))
def test_a_shown_word_is_quoted_as_ever_or_has_nothing_to_escape(words: list[str]) -> None:
    for word in words:
        quoted = shell_word(word)
        assert is_plain(quoted)
        assert quoted == shlex.quote(word) or not is_plain(word)


@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_bash_reads_back_each_byte_and_pair_of_bytes(locale: str, tmp_path: Path) -> None:
    words = [
        bytes(b) for n in range(1, 256) for b in ((n,), (n, n), (n, 0x31), (0x5C, n), (n, 0x21), (n, 0x27))
    ]
    read_back([word.decode("utf-8", "surrogateescape") for word in words], locale, tmp_path)


@settings(max_examples=25, deadline=None)
@given(st.lists(WORDS, min_size=50, max_size=200), st.sampled_from(["C", "C.UTF-8"]))
def test_bash_reads_any_words_back(
    tmp_path_factory: pytest.TempPathFactory, words: list[str], locale: str
) -> None:
    read_back(words, locale, tmp_path_factory.getbasetemp())


def read_back(words: list[str], locale: str, folder: Path) -> None:
    script = folder / "printed_words.sh"
    line = f"printf '%s\\0' {shell_line(words)}\n"
    script.write_text(line, encoding="utf-8")
    done = subprocess.run(["/bin/bash", str(script)], env={"LC_ALL": locale}, capture_output=True, check=True)
    assert done.stderr == b""
    expected = b"".join(word.encode("utf-8", "surrogateescape") + b"\0" for word in words)
    assert done.stdout == expected


def test_a_nul_is_refused() -> None:
    with pytest.raises(ValueError, match="NUL"):
        shell_word("a\0b")
