"""What crosses the KVS: every message comes back as it was, and garbage is a PeerError, never anything else."""

from typing import Any

import msgspec
import pytest
from disbatch_builders import outcome
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.codec import decode, encode
from disbatch.core.errors import PeerError
from disbatch.core.messages import (
    NOTE_CHARS,
    VERSION,
    Die,
    Down,
    EngineCommand,
    Handed,
    Hello,
    Means,
    Message,
    Report,
    Setup,
    Up,
    Vitals,
)
from disbatch.core.model import Outcome

COUNT = st.integers(0, 2**62)
INDEX = st.integers(1 - 2**63, 2**63 - 1)  # of a repeat; what is beyond, the task file's parser refuses
SECONDS = st.floats(0, 1e12)
NAME = st.text(max_size=20)
COMMAND = st.binary(max_size=60)
HELD = st.lists(st.tuples(COUNT, COUNT), max_size=4).map(tuple)
OUTCOME = st.builds(
    Outcome, st.integers(-1, 2**22), st.integers(-100, 255), SECONDS, SECONDS, SECONDS,
    COUNT, NAME, COUNT, NAME, SECONDS, COUNT,
)  # fmt: skip
SLOT = st.integers(-1, 10_000)
REPORT = st.builds(Report, COUNT, st.sampled_from("TAZ"), COUNT, COUNT, OUTCOME, SLOT)
REPORTS = st.lists(REPORT, max_size=4).map(tuple)
HANDED = st.lists(st.builds(Handed, COUNT, COUNT, COUNT, INDEX, COMMAND), max_size=4).map(tuple)
COMMANDS = st.lists(st.builds(EngineCommand, COUNT, COUNT, COMMAND), max_size=3).map(tuple)
STOP = st.sampled_from(["", "finish", "kill", "abort"])
SETUP = st.none() | st.builds(Setup, COMMANDS, COMMANDS)
VITALS = st.none() | st.builds(Vitals, st.floats(0, 1e6), COUNT, COUNT, COUNT)
MEANS = st.builds(Means, COUNT, COUNT, COUNT, st.integers(-1, 100))
MESSAGES = st.one_of(
    st.builds(Hello, NAME, COUNT, COUNT, NAME, COUNT, SECONDS, HELD, REPORTS, COUNT, VITALS, MEANS, COUNT),
    st.builds(
        Up, NAME, COUNT, COUNT, SECONDS, REPORTS, COUNT, HELD, NAME, COUNT, VITALS, NAME, st.booleans(), HELD
    ),
    st.builds(
        Down, NAME, NAME, COUNT, COUNT, COUNT, SECONDS, HANDED, HELD, STOP, SETUP, st.floats(0.001, 1e5)
    ),
    st.builds(Die, NAME),
)


HEAD = 2  # bytes before the body


def body_of(message: Message) -> list[Any]:
    """The fields, as lists in lists, to be damaged."""
    found: list[Any] = msgspec.msgpack.decode(encode(message)[HEAD:])
    return found


def with_body(message: Message, body: object) -> bytes:
    return encode(message)[:HEAD] + msgspec.msgpack.encode(body)


@given(MESSAGES)
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    back = decode(encode(message))
    assert back == message
    assert type(back) is type(message)


def test_what_comes_back_is_made_of_the_same_types() -> None:
    report = Report(1, "T", 0, 1, outcome(), 3)
    back = decode(encode(Up("s", 1, 1, 0.5, (report,), 1, ((3, 1),), vitals=Vitals(0.5, 1, 2, 3))))
    assert isinstance(back, Up)
    assert [type(part) for part in (back.reports[0], back.reports[0].outcome, back.vitals)] == [
        Report,
        Outcome,
        Vitals,
    ]
    assert type(back.reports) is type(back.returned) is type(back.returned[0]) is tuple


@given(st.binary(max_size=80))
def test_garbage_is_a_peer_error(data: bytes) -> None:
    with pytest.raises(PeerError):
        decode(data)


@given(st.sampled_from([Hello, Up, Down, Die]), st.binary(max_size=80))
def test_garbage_behind_a_good_beginning_is_a_peer_error(kind: type, data: bytes) -> None:
    head = {Hello: b"H", Up: b"U", Down: b"D", Die: b"X"}[kind] + bytes([VERSION])
    try:
        message = decode(head + data)
    except PeerError:
        return
    assert encode(message)[:HEAD] == head  # bytes that happen to be one


@given(MESSAGES, st.data())
def test_a_message_that_is_cut_or_goes_on_is_a_peer_error(message: Message, data: st.DataObject) -> None:
    whole = encode(message)
    for bad in (whole[: data.draw(st.integers(0, len(whole) - 1))], whole + b"\x01"):
        with pytest.raises(PeerError):
            decode(bad)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@given(MESSAGES, st.data())
def test_a_message_with_one_field_changed_is_one_or_a_peer_error(
    message: Message, data: st.DataObject
) -> None:
    body = body_of(message)
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(VALUE)
    try:
        decode(with_body(message, body))
    except PeerError:
        pass


@given(VALUE)
def test_any_value_that_is_no_message_is_a_peer_error(value: object) -> None:
    with pytest.raises(PeerError):
        decode(msgspec.msgpack.encode(value))


def test_another_version_is_named() -> None:
    data = bytearray(encode(Die("s")))
    data[1] = VERSION + 1
    with pytest.raises(PeerError, match=f"version {VERSION + 1}; this program speaks {VERSION}"):
        decode(bytes(data))


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b.append(1),
        lambda b: b.__delitem__(slice(5, None)),
        lambda b: b.__setitem__(4, [[1, "Q", 0, 1, list(outcome()), 0]]),
        lambda b: b.__setitem__(4, [[1, "T", 0, 1, ["x", *outcome()[1:]], 0]]),
        lambda b: b.__setitem__(4, [[1, "T", 0, 1, [None, *outcome()[1:]], 0]]),
        lambda b: b.__setitem__(4, [[1, "T", 0, True, list(outcome()), 0]]),
        lambda b: b.__setitem__(6, [[1]]),
        lambda b: b.__setitem__(5, "many"),
        lambda b: b.__setitem__(9, [0.5, 1, 2]),
        lambda b: b.__setitem__(9, [float("nan"), 1, 2, 3]),
        lambda b: b.__setitem__(9, [float("inf"), 1, 2, 3]),
        lambda b: b.__setitem__(9, [-0.5, 1, 2, 3]),
        lambda b: b.__setitem__(9, [0.5, 1, "2", 3]),
    ],
)
def test_a_damaged_up_is_a_peer_error(damage) -> None:
    message = Up("s", 1, 1, 0.5, (Report(1, "T", 0, 1, outcome()),), 1)
    body = body_of(message)
    assert decode(with_body(message, body)) == message
    damage(body)
    with pytest.raises(PeerError):
        decode(with_body(message, body))


@pytest.mark.parametrize(
    "handed",
    [
        ["x", 1, 1, -1, b"true"],
        [1, None, 1, -1, b"true"],
        [1, 1, [], -1, b"true"],
        [1, 1, 1, 1.5, b"true"],
        [1, 1, 1, -1, 7],
    ],
)
def test_a_handed_task_with_a_wrong_field_is_a_peer_error(handed: list[object]) -> None:
    message = Down("d", "s", 1, 1, 0, 0.0)
    body = body_of(message)
    body[6] = [[1, 1, 1, -1, b"true"]]
    assert decode(with_body(message, body)) == message._replace(tasks=(Handed(1, 1, 1, -1, b"true"),))
    body[6] = [handed]
    with pytest.raises(PeerError):
        decode(with_body(message, body))


def test_an_unknown_stop_is_a_peer_error() -> None:
    message = Down("d", "s", 1, 1, 0, 0.0)
    body = body_of(message)
    body[8] = "explode"
    with pytest.raises(PeerError):
        decode(with_body(message, body))


@pytest.mark.parametrize("every", [0, -1.0, 1e9, float("nan")])
def test_reports_that_would_never_come_are_not_asked_for(every: float) -> None:
    with pytest.raises(PeerError):
        decode(encode(Down("d", "s", 1, 1, 0, 0.0, every_s=every)))


def test_a_text_that_is_no_text_is_told_as_far_as_it_is() -> None:
    up = decode(encode(Up("s", 1, 0, 0.5, (), 0, bye="cannot read /data/\udcff.txt")))
    assert isinstance(up, Up) and up.bye == "cannot read /data/?.txt"


@pytest.mark.parametrize(
    "message", [Die("sid"), Up("sid", 1, 0, 0.5, (), 0), Hello("sid", 1, 2, "n", 2, 0.0, (), (), 2)]
)
def test_a_text_that_is_no_utf_8_is_a_peer_error(message: Message) -> None:
    with pytest.raises(PeerError):
        decode(encode(message).replace(b"sid", b"s\x80d"))


def test_a_long_note_is_cut() -> None:
    up = decode(encode(Up("s", 1, 0, 0.5, (), 0, note="x" * 5000)))
    assert isinstance(up, Up) and up.note == "x" * NOTE_CHARS


def test_nesting_without_end_is_a_peer_error() -> None:
    head = b"D" + bytes([VERSION])
    for data in (b"\x91" * 1_000_000, head + b"\x91" * 200_000, head + b"\xdd\xff\xff\xff\xff" * 3):
        with pytest.raises(PeerError):
            decode(data)
