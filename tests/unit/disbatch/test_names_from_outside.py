"""Names that come out of a file or from the user and get onto a command line, or choose what is killed."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disbatch.contexts.base import NodeShare, allocate, is_node_name
from disbatch.contexts.ssh import launch_argv, parse_hosts
from disbatch.core.errors import MachineError, UsageError
from disbatch.runtime import sweep
from disbatch.runtime.charges import ChargesFile, read_charges
from disbatch.runtime.crashed import look
from disbatch.runtime.files import replace_secret
from disbatch.runtime.roster import read_entries
from disbatch.runtime.usagefile import UsageFile


@pytest.mark.parametrize(
    "name",
    ["n1", "me@n1", "n-1.cluster_2", "192.0.2.1", "fe80::1%eth0", "[::1]", "rechner-süd", "a+b", "ws#1"],
)
def test_names_of_nodes(name: str) -> None:
    assert is_node_name(name)


@pytest.mark.parametrize(
    "name",
    ["", "-n1", "me@", "@n1", "me@-n1", "-me@n1", "n 1", "n\t1", "n1\n", "n\x1b[2J", "n\u202e1", "n1,n2", "/etc/hosts",
     "n1;true", "$(true)", "`true`", "n1|true", "n1>f", "{n1}", "'n1'", '"n1"', "n\\1", "n&1"],
)  # fmt: skip
def test_what_is_none(name: str) -> None:
    assert not is_node_name(name)
    with pytest.raises(UsageError, match="cannot be the name of a node"):
        allocate([NodeShare(name, 4)], 1, None)


@given(st.text())
def test_a_name_is_never_taken_for_an_option_nor_for_two_words(name: str) -> None:
    if is_node_name(name):
        assert not name.startswith("-") and name.split() == [name] and name.isprintable()
        assert parse_hosts([f"{name}:3"], "-s") == [NodeShare(name, 3)]


def test_ssh_is_told_where_its_options_end() -> None:
    argv = launch_argv("n1", "/f", ["engine"])
    assert argv[argv.index("--") + 1] == "n1" and argv[-1].endswith("exec engine")


@pytest.mark.parametrize(
    "session", ["", "ab", "0123456789abcde", "0123456789ABCDEF", "0123456789abcdef0", "x" * 16]
)
def test_nothing_is_swept_for_what_is_no_session(
    session: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nothing(session: str, seconds: float = 0) -> bool:
        raise AssertionError("it looks for processes to kill")

    monkeypatch.setattr(sweep, "sweep", nothing)
    monkeypatch.setattr("sys.argv", ["sweep", session])
    assert sweep.main() == 2
    assert "nothing is killed" in capsys.readouterr().err


@pytest.mark.parametrize("session", ["0123456789abcdef", "0123456789abcdef.fedcba9876543210"])
def test_a_session_is_swept(session: str, monkeypatch: pytest.MonkeyPatch) -> None:
    swept: list[str] = []
    monkeypatch.setattr(sweep, "sweep", lambda session: swept.append(session) is None)
    monkeypatch.setattr("sys.argv", ["sweep", session])
    assert sweep.main() == 0 and swept == [session]


INFO = "h:9\nrun 1\ndriver here 1 0\nsession 0123456789abcdef\nlease 300\nnode ssh n1\nranks 2\n"


def test_an_info_file_that_others_can_write_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "run_kvsinfo.txt"
    assert look(str(tmp_path / "run")) is None
    path.write_text(INFO)
    path.chmod(0o600)
    found = look(str(tmp_path / "run"))
    assert found is not None and found.nodes == (("ssh", "n1"),) and read_entries(str(path)).next_rank == 2
    path.chmod(0o620)
    for call in (lambda: look(str(tmp_path / "run")), lambda: read_entries(str(path))):
        with pytest.raises(UsageError, match="its group can write it"):
            call()


def test_limits_are_neither_read_nor_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("0 a\n")
    link = tmp_path / "limits"
    link.symlink_to("precious")
    with pytest.raises(OSError, match="symbolic link"):
        ChargesFile(str(link)).append(b"1 a\n")
    with pytest.raises(MachineError, match="symbolic link"):
        read_charges(str(link), lambda _: True, 9)
    assert (tmp_path / "precious").read_text() == "0 a\n"


def test_a_link_in_the_place_of_the_usage_file_is_told_once(tmp_path: Path) -> None:
    (tmp_path / "usage").symlink_to("precious")
    told: list[str] = []
    file = UsageFile(str(tmp_path / "usage"), told.append)
    file.append(b"1\n")
    file.append(b"2\n")
    file.close()
    assert len(told) == 1 and "symbolic link" in told[0] and not (tmp_path / "precious").exists()


def test_the_address_of_the_page_is_written_into_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "run_url"
    replace_secret(str(path), "one\n")
    replace_secret(str(path), "two\n")
    assert path.read_text() == "two\n" and path.stat().st_mode & 0o777 == 0o600
    path.unlink()
    (tmp_path / "precious").write_text("as it was\n")
    path.symlink_to("precious")
    with pytest.raises(OSError, match="symbolic link"):
        replace_secret(str(path), "three\n")
    assert (tmp_path / "precious").read_text() == "as it was\n" and os.path.islink(path)
