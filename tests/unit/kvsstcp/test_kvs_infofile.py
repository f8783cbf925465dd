"""The info file: round trip, mode, the form of the first line, and errors that name file and line."""

import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kvsstcp.errors import MachineError, UsageError
from kvsstcp.infofile import (
    Info,
    format_address,
    format_info,
    info_from_argument,
    info_from_environment,
    parse_address,
    parse_info,
    read_info,
    write_info,
)

PEM = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
addresses = st.tuples(st.sampled_from(("node1", "10.0.0.1", "fe80::1")), st.integers(1, 65535))


@settings(deadline=None)
@given(
    st.lists(addresses, min_size=1, max_size=4, unique=True),
    st.none() | st.binary(min_size=32, max_size=32),
    st.sampled_from(("", "1234.2")),
    st.none() | st.just(PEM),
)
def test_round_trip(where, token, run_id, pem) -> None:
    info = Info(tuple(where), token, run_id, pem)
    assert parse_info(format_info(info)) == info


def test_the_file_is_private_and_replaces_an_old_one(tmp_path: Path) -> None:
    path = tmp_path / "info"
    path.write_text("old")
    path.chmod(0o644)
    info = Info((("h", 1),), bytes(32), "r", PEM)
    write_info(path, info)
    assert path.stat().st_mode & 0o777 == 0o600 and read_info(path) == info
    assert path.read_text().splitlines()[:4] == ["h:1", "token " + "00" * 32, "addresses h:1", "run r"]
    assert os.listdir(tmp_path) == ["info"], "no half-written file stays"


def test_the_umask_does_not_open_it(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_info(tmp_path / "info", Info((("h", 1),)))
    finally:
        os.umask(before)
    assert (tmp_path / "info").stat().st_mode & 0o777 == 0o600


def test_an_address_file_is_a_plain_info_file() -> None:
    assert parse_info("host:12\n") == Info((("host", 12),))


@pytest.mark.parametrize(
    ("text", "where"),
    [
        ("", "empty"),
        ("host", "line 1"),
        ("host:0\n", "line 1"),
        ("host:70000\n", "line 1"),
        ("h:1\ntoken xyz\n", "line 2"),
        ("h:1\ntoken \n", "line 2"),
        ("h:1\ntoken 00ff\n", "line 2"),
        ("h:1\nlater word\naddresses h:1 nonsense\n", "line 3"),
    ],
)
def test_damage_is_named(text: str, where: str) -> None:
    with pytest.raises(UsageError, match=where) as caught:
        parse_info(text, "some/file")
    assert "some/file" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="nowhere"):
        read_info(tmp_path / "nowhere")
    with pytest.raises(MachineError, match="nowhere"):
        write_info(tmp_path / "nowhere" / "info", Info((("h", 1),)))


def test_addresses() -> None:
    assert parse_address("[::1]:5") == ("::1", 5) and format_address(("::1", 5)) == "[::1]:5"
    for bad in ("", "h", "h:", ":1", "h:x", "h:-1"):
        with pytest.raises(UsageError):
            parse_address(bad)


def test_the_info_file_wins_in_the_environment(tmp_path: Path) -> None:
    write_info(tmp_path / "i", Info((("a", 1),)))
    environ = {"KVSSTCP_HOST": "b", "KVSSTCP_PORT": "2"}
    assert info_from_environment(environ) == Info((("b", 2),))
    assert info_from_environment({**environ, "KVSSTCP_INFO": str(tmp_path / "i")}) == Info((("a", 1),))
    assert info_from_environment({}) is None
    assert info_from_argument(str(tmp_path / "i")) == Info((("a", 1),))
    assert info_from_argument("c:3") == Info((("c", 3),))


def test_the_token_is_not_in_the_repr() -> None:
    assert "ab" * 32 not in repr(Info((("h", 1),), bytes.fromhex("ab" * 32)))
