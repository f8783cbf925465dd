"""Forms in which `-s` takes a host, what ssh is then told, and what is said of logins that come to nothing."""

import os
import socket

import pytest

from disbatch.contexts import launchwords
from disbatch.contexts.base import Wishes
from disbatch.contexts.ssh import Ssh, destination, launch_argv, parse_hosts
from disbatch.core.errors import UsageError
from disbatch.runtime.ownhost import is_this_machine


@pytest.mark.parametrize(
    ("item", "name", "cores", "called", "port"),
    [
        ("[::1]:4", "[::1]", 4, "::1", ""),
        ("::1:4", "::1", 4, "::1", ""),
        ("me@[fe80::1%eth0]:2", "me@[fe80::1%eth0]", 2, "me@fe80::1%eth0", ""),
        ("ssh://user@host:2222:4", "user@host:2222", 4, "user@host", "2222"),
        ("ssh://host:4", "host", 4, "host", ""),
        ("ssh://[fd00::5]:2222:4", "[fd00::5]:2222", 4, "fd00::5", "2222"),
        ("host:2222:4", "host:2222", 4, "host", "2222"),
        ("fe80::1:4", "fe80::1", 4, "fe80::1", ""),
        ("host:4", "host", 4, "host", ""),
    ],
)
def test_forms_of_a_host(item: str, name: str, cores: int, called: str, port: str) -> None:
    (share,) = parse_hosts([item], "-s")
    assert (share.name, share.cores) == (name, cores)
    assert destination(share.name) == (called, port)
    argv = launch_argv(share.name, "/f", ["engine"])
    assert argv[argv.index("--") + 1] == called
    assert ("-p" in argv) == bool(port) and (not port or argv[argv.index("-p") + 1] == port)


@pytest.mark.parametrize("item", ["ssh://host:0:4", "ssh://host:65536:4", "ssh://host/:4", "ssh://:4"])
def test_what_ssh_could_not_reach(item: str) -> None:
    with pytest.raises(UsageError, match="-s: ") as caught:
        parse_hosts([item], "-s")
    assert repr(item) in str(caught.value)


def test_the_configuration_of_a_person_does_not_get_into_the_way_of_an_engine() -> None:
    argv = launch_argv("n1", "/f", ["engine"])
    for option in ("BatchMode=yes", "RemoteCommand=none", "ClearAllForwardings=yes"):
        assert argv[argv.index(option) - 1] == "-o"


# ---- this machine


def test_names_of_this_machine() -> None:
    own = os.uname().nodename
    short = own.partition(".")[0]
    for name in ("localhost", "LOCALHOST", own, own.upper(), short, "127.0.0.1", "127.9.9.9"):
        assert is_this_machine(name), name


def test_own_addresses_are_this_machine_and_others_are_not() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no way to anywhere")
        own = probe.getsockname()[0]
    assert is_this_machine(own)
    for name in ("192.0.2.1", "2001:db8::7", "otherhost", "localhost.example.org", "[2001:db8::7]"):
        assert not is_this_machine(name), name


@pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="this machine has no IPv6")
def test_ipv6_loopback_is_this_machine() -> None:
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no ::1")
    assert is_this_machine("[::1]") and is_this_machine("::1")


def test_a_name_with_a_domain_is_asked_for_only_if_it_may_be_this_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, int]] = []

    def answer(name: str, port: int, type: int, flags: int) -> list[object]:
        asked.append((name, flags))
        if flags & socket.AI_NUMERICHOST or name.endswith("elsewhere"):
            raise socket.gaierror(socket.EAI_NONAME, "unknown")
        return [(socket.AF_INET, type, 0, "", ("127.0.1.1", port))]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    short = os.uname().nodename.partition(".")[0].lower()
    assert is_this_machine(f"{short}.some.domain") and not is_this_machine(f"{short}.elsewhere")
    assert not is_this_machine("other.some.domain")
    assert [name for name, flags in asked if not flags & socket.AI_NUMERICHOST] == [
        f"{short}.some.domain",
        f"{short}.elsewhere",
    ]


def test_all_names_of_this_machine_are_one_host_and_start_without_ssh() -> None:
    hosts = ("localhost:1,here:2", "[::1]:1,me@here:4,here:22:8,other:1")
    wishes = Wishes(hosts=hosts)
    assert set(Ssh().host_names({}, wishes)) == {"here", "[::1]", "other"}  # no user, no port
    wishes = Wishes(hosts=hosts, own=frozenset(("here", "[::1]")))
    nodes = Ssh().allocate({}, wishes, {}).nodes
    assert [(n.name, n.slots) for n in nodes] == [
        ("localhost", 4),
        ("me@here", 4),
        ("here:22", 8),
        ("other", 1),
    ]
    assert [Ssh().is_local(n.name) for n in nodes] == [True, False, False, False]


# ---- logins


@pytest.mark.parametrize("code", [0, 1, 127])
def test_a_login_that_ends_before_its_command(code: int) -> None:
    assert "~/.bashrc" in launchwords.not_begun(code)


@pytest.mark.parametrize("code", [255, -9, -15])
def test_where_ssh_itself_has_failed_nothing_is_guessed(code: int) -> None:
    assert launchwords.not_begun(code) == ""


def test_what_every_login_says_is_not_shown() -> None:
    assert launchwords.why(f"{launchwords.REACHED}\nno such folder\n", 3) == "no such folder"
