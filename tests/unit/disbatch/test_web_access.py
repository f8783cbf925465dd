"""Who may see the web page and steer by it, what an order is, and how the stream survives breaks and slow readers."""

import asyncio
import json

import pytest

from disbatch.core.joining import Answer, StopKind
from disbatch.web.access import HEADERS, SESSIONS, TICKET_S, Access, own_origin
from disbatch.web.control import Order, OrderError, carry_out, read_order
from disbatch.web.hub import KEPT_TICKS, QUEUE_TICKS, Hub
from disbatch.web.page import pause_s


def test_only_the_secrets_let_in() -> None:
    access = Access()
    session = access.session(access.ticket(0.0), 1.0)
    assert session
    for secret in (access.token, session):
        assert access.by_header(f"Bearer {secret}") and access.by_header(f"bearer {secret}")
        assert not access.by_header(f"Basic {secret}") and not access.by_header(secret)
        assert not access.by_charts_key(secret)
    ticket = access.ticket(0.0)
    for wrong in (None, "", "x", session[:-1], access.token + "x", "ü", "\udc80", ticket, access.charts_key):
        assert not access.by_header(f"Bearer {wrong}") and not access.by_header(wrong)
    assert access.by_charts_key(access.charts_key) and not access.by_charts_key(None)


def test_a_ticket_opens_one_session_within_its_time() -> None:
    access = Access()
    ticket = access.ticket(10.0)
    assert access.session(ticket, 11.0) and access.session(ticket, 11.0) is None
    late = access.ticket(10.0)
    assert access.session(late, 10.0 + TICKET_S) is None
    assert access.session("", 0.0) is None and access.session(access.token, 0.0) is None


def test_what_is_kept_is_bounded() -> None:
    access = Access()
    sessions = [access.session(access.ticket(float(n)), float(n)) for n in range(SESSIONS + 1)]
    assert not access.by_header(f"Bearer {sessions[0]}")
    assert access.by_header(f"Bearer {sessions[1]}") and access.by_header(f"Bearer {sessions[-1]}")
    for n in range(10):
        access.ticket(n * 2 * TICKET_S)
    assert len(access._tickets) == 1


def test_each_page_has_secrets_of_its_own() -> None:
    one, other = Access(), Access()
    made = {one.token, one.charts_key, one.ticket(0), other.token, other.charts_key, other.ticket(0)}
    assert len(made) == 6 and min(map(len, made)) >= 43


def test_the_policy_allows_nothing_from_elsewhere() -> None:
    policy = HEADERS["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "http" not in policy
    assert HEADERS["Referrer-Policy"] == "no-referrer"


@pytest.mark.parametrize(
    ("origin", "host", "own"),
    [
        ("http://127.0.0.1:81", "127.0.0.1:81", True),
        ("http://localhost:8000", "LOCALHOST:8000", True),  # the near end of a tunnel
        ("http://127.0.0.1:81", "127.0.0.1:82", False),
        ("http://evil.example", "127.0.0.1:81", False),
        ("null", "127.0.0.1:81", False),
        ("", "", False),
        (None, "127.0.0.1:81", False),
        ("http://127.0.0.1:81", None, False),
    ],
)
def test_own_origin(origin: str | None, host: str | None, own: bool) -> None:
    assert own_origin(origin, host) is own


# -- orders


class Desk:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def drain(self) -> None:
        self.asked.append("drain")

    def stop(self) -> None:
        self.asked.append("stop")

    def stop_softly(self, kind: StopKind, name: str) -> Answer:
        self.asked.append(f"{kind} {name}")
        return Answer(name != "9", f"about {name}")


@pytest.mark.parametrize(
    ("order", "asked"),
    [
        ({"what": "drain"}, "drain"),
        ({"what": "stop", "name": "ignored"}, "stop"),
        ({"what": "engine", "name": "3"}, "engine 3"),
        ({"what": "context", "name": "J17"}, "context J17"),
    ],
)
def test_orders(order: dict[str, str], asked: str) -> None:
    desk = Desk()
    assert carry_out(read_order(json.dumps(order).encode()), desk)
    assert desk.asked == [asked]


def test_an_order_that_cannot_be_carried_out() -> None:
    with pytest.raises(OrderError, match="about 9"):
        carry_out(Order("engine", "9"), Desk())


@pytest.mark.parametrize(
    "body",
    [b"", b"stop", b"[]", b'"stop"', b"{}", b'{"what": "kill"}', b'{"what": "engine"}', b'{"what": "engine", "name": 3}',
     b'{"what": ["stop"]}', b"\xff", b"[" * 4000],
)  # fmt: skip
def test_what_is_no_order(body: bytes) -> None:
    with pytest.raises(OrderError):
        read_order(body)


# -- the stream


@pytest.mark.parametrize(("cost_s", "pause"), [(0.0, 1.0), (0.002, 1.0), (0.06, 2.0), (5.0, 4.0)])
def test_what_costs_more_is_shown_less_often(cost_s: float, pause: float) -> None:
    assert pause_s(cost_s) == pytest.approx(pause)


def published(hub: Hub, count: int, first: int = 1) -> None:
    for number in range(first, first + count):
        hub.publish(number, f'{{"tick":{number}}}')


def test_a_newcomer_gets_everything_once() -> None:
    made = []
    hub = Hub(lambda: made.append(1) or '{"all":1}')  # type: ignore[func-returns-value]
    published(hub, 3)
    for _ in range(5):
        _, first = hub.join(None)
        assert first == [b'event: whole\nid: 3\ndata: {"all":1}\n\n']
    assert len(made) == 1
    published(hub, 1, 4)
    hub.join(None)
    assert len(made) == 2


def test_one_who_comes_back_gets_what_was_missed() -> None:
    hub = Hub(lambda: "{}")
    published(hub, 5)
    assert [event.split(b"\n")[1] for event in hub.join(3)[1]] == [b"id: 4", b"id: 5"]
    assert hub.join(5)[1] == []
    assert hub.join(0)[1][0].startswith(b"event: tick\nid: 1\n")
    assert hub.join(6)[1][0].startswith(b"event: whole")  # of another run
    published(hub, KEPT_TICKS, 6)
    assert hub.join(4)[1][0].startswith(b"event: whole")
    assert len(hub.join(5)[1]) == KEPT_TICKS


def test_one_who_does_not_read_is_bounded_and_starts_anew() -> None:
    async def reads() -> None:
        hub = Hub(lambda: "{}")
        viewer, _ = hub.join(None)
        published(hub, 2)
        assert (await viewer.next() or b"").startswith(b"event: tick\nid: 1\n")
        published(hub, 5 * QUEUE_TICKS, 3)
        assert await viewer.next() is None and viewer.lost_track
        viewer.lost_track = False
        published(hub, 1, 99)
        assert (await viewer.next() or b"").startswith(b"event: tick\nid: 99\n")
        hub.publish(100, "last")
        hub.close()
        assert await viewer.next() is not None and await viewer.next() is None
        assert not viewer.lost_track

    asyncio.run(asyncio.wait_for(reads(), 10))
