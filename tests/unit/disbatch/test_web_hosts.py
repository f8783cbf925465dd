"""Under which names the page is served, and what is the page's own origin."""

import pytest

from disbatch.web.access import Access, own_origin

LOOPBACK = ("127.0.0.1", 8000)
ANYWHERE = ("10.1.2.3", 8000)


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1:8000", "localhost:8000", "LOCALHOST:8000", "localhost.:8000", "[::1]:8000", "127.0.0.2:8000",
     "localhost:9999", "127.0.0.1:9999", "[::1]:9999", "localhost", "node17:8000", "Node17.:8000"],
)  # fmt: skip
def test_names_that_only_this_machine_has(host: str) -> None:
    """With any port for those of loopback: it is that of the near end of a tunnel."""
    assert Access(("127.0.0.1", "node17")).by_host([host], LOOPBACK)
    assert Access(("0.0.0.0", "node17")).by_host([host], ANYWHERE)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:8000", "localhost.evil.example:8000", "127.0.0.1.evil.example:8000", "node17",
     "node17:80", "node17:8001", "node17.evil.example:8000", "10.1.2.3", "10.1.2.3:8001", "10.1.2.4:8000",
     "0.0.0.0:8000", "[::]:8000", "", ":8000", "127.0.0.1:", "127.0.0.1:99999999", "127.0.0.1:8000/x", "user@localhost:8000",
     "localhost:8000\t", "[::1", "::1:8000", "localhost:8000,evil.example", "[localhost]:8000", "127.1:8000",
     "2130706433:8000", "\udc80:8000", "[" * 400],
)  # fmt: skip
def test_other_names(host: str) -> None:
    assert not Access(("127.0.0.1", "node17")).by_host([host], LOOPBACK)
    assert not Access(("0.0.0.0", "node17")).by_host([host], ("10.1.2.9", 8000))


def test_the_address_at_which_a_connection_arrives_is_served() -> None:
    access = Access(("0.0.0.0", "node17"))
    assert access.by_host(["10.1.2.3:8000"], ANYWHERE)
    assert access.by_host(["10.1.2.3:8000"], ("::ffff:10.1.2.3", 8000))
    assert access.by_host(["[2001:db8::1]:8000"], ("2001:db8:0:0::1", 8000))
    assert access.by_host(["[fe80::1]:8000"], ("fe80::1%eth0", 8000))
    assert not access.by_host(["[2001:db8::2]:8000"], ("2001:db8::1", 8000))
    assert not access.by_host(["10.1.2.3:8000"], ("", 0))


def test_the_port_of_http_need_not_be_said() -> None:
    assert Access(("node17",)).by_host(["node17"], ("10.1.2.3", 80))


def test_a_host_is_said_once() -> None:
    access = Access()
    assert not access.by_host([], LOOPBACK)
    assert not access.by_host(["localhost:8000", "localhost:8000"], LOOPBACK)


def test_the_full_name_counts_once_it_is_known() -> None:
    access = Access(("node17",))
    assert not access.by_host(["node17.cluster.example:8000"], ANYWHERE)
    access.names.add("node17.cluster.example")
    assert access.by_host(["node17.cluster.example:8000"], ANYWHERE)


@pytest.mark.parametrize(
    "origin",
    ["http://[::1", "null", "http://", "http:///", "http://localhost:8000/", "http://localhost:8000/path", "http://localhost:8000?",
     "http://localhost:8000#", "http://user@localhost:8000", "http://localhost:8000@evil.example", "https://localhost:8000",
     "//localhost:8000", "localhost:8000", "http://localhost", "http://localhost:8001", "http://localhost:8000 http://evil.example",
     "http://evil.example\\@localhost:8000", "", "\udcff", "http://[v1.x]", "file://"],
)  # fmt: skip
def test_origins_of_others(origin: str) -> None:
    assert not own_origin(origin, "localhost:8000")


@pytest.mark.parametrize("host", ["", "localhost:8000/path", "user@localhost:8000", "[::1", "a b"])
def test_an_origin_is_not_own_because_the_host_is_as_wrong(host: str) -> None:
    assert not own_origin(f"http://{host}", host)


@pytest.mark.parametrize("host", ["localhost:8000", "127.0.0.1", "[::1]:8000", "node17:8000"])
def test_own_origins(host: str) -> None:
    assert own_origin(f"http://{host}", host) and own_origin(f"HTTP://{host}".upper(), host)
