"""What crosses the KVS: every message comes back as it was, and garbage is a PeerError, never anything else."""

import json

import pytest
from disbatch_builders import outcome
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.errors import PeerError
from disbatch.core.messages import (
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
    decode,
    encode,
)
from disbatch.core.model import Outcome

COUNT = st.integers(0, 2**62)
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
HANDED = st.lists(st.builds(Handed, COUNT, COUNT, COUNT, st.integers(), COMMAND), max_size=4).map(tuple)
COMMANDS = st.lists(st.builds(EngineCommand, COUNT, COUNT, COMMAND), max_size=3).map(tuple)
STOP = st.sampled_from(["", "finish", "kill", "abort"])
SETUP = st.none() | st.builds(Setup, COMMANDS, COMMANDS)
VITALS = st.none() | st.builds(Vitals, st.floats(0, 1e6), COUNT, COUNT, COUNT)
MEANS = st.builds(Means, COUNT, COUNT, COUNT, st.integers(-1, 100))
MESSAGES = st.one_of(
    st.builds(Hello, NAME, COUNT, COUNT, NAME, COUNT, SECONDS, HELD, REPORTS, COUNT, VITALS, MEANS),
    st.builds(Up, NAME, COUNT, COUNT, SECONDS, REPORTS, COUNT, HELD, NAME, COUNT, VITALS, NAME),
    st.builds(
        Down, NAME, NAME, COUNT, COUNT, COUNT, SECONDS, HANDED, HELD, STOP, SETUP, st.floats(0.001, 1e5)
    ),
    st.builds(Die, NAME),
)


@given(MESSAGES)
def test_every_message_comes_back_as_it_was(message: Message) -> None:
    data = encode(message)
    assert data.isascii() and b"\n" not in data
    assert decode(data) == message


@given(st.binary(max_size=80))
def test_garbage_is_a_peer_error(data: bytes) -> None:
    with pytest.raises(PeerError):
        decode(data)


VALUE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=8,
)


@given(MESSAGES, st.data())
def test_a_message_with_one_field_changed_is_one_or_a_peer_error(
    message: Message, data: st.DataObject
) -> None:
    body = json.loads(encode(message))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(VALUE)
    try:
        decode(json.dumps(body).encode())
    except PeerError:
        pass


@given(VALUE)
def test_any_json_that_is_no_message_is_a_peer_error(value: object) -> None:
    with pytest.raises(PeerError):
        decode(json.dumps(value).encode())


def test_another_version_is_named() -> None:
    body = json.loads(encode(Die("s")))
    body[1] = VERSION + 1
    with pytest.raises(PeerError, match=f"version {VERSION + 1}"):
        decode(json.dumps(body).encode())


@pytest.mark.parametrize(
    "damage",
    [
        lambda b: b.append(1),
        lambda b: b.pop(),
        lambda b: b.__setitem__(0, "Q"),
        lambda b: b.__setitem__(6, [[1, "Q", 0, 1, list(outcome()), 0]]),
        lambda b: b.__setitem__(6, [[1, "T", 0, 1, ["x", *outcome()[1:]], 0]]),
        lambda b: b.__setitem__(6, [[1, "T", 0, 1, [None, *outcome()[1:]], 0]]),
        lambda b: b.__setitem__(8, [[1]]),
        lambda b: b.__setitem__(7, "many"),
        lambda b: b.__setitem__(11, [0.5, 1, 2]),
        lambda b: b.__setitem__(11, [float("nan"), 1, 2, 3]),
        lambda b: b.__setitem__(11, [0.5, 1, "2", 3]),
    ],
)
def test_a_damaged_up_is_a_peer_error(damage) -> None:
    body = json.loads(encode(Up("s", 1, 1, 0.5, (Report(1, "T", 0, 1, outcome()),), 1)))
    damage(body)
    with pytest.raises(PeerError):
        decode(json.dumps(body).encode())


@pytest.mark.parametrize(
    "handed",
    [
        ["x", 1, 1, -1, "true"],
        [1, None, 1, -1, "true"],
        [1, 1, [], -1, "true"],
        [1, 1, 1, 1.5, "true"],
        [1, 1, 1, -1, 7],
    ],
)
def test_a_handed_task_with_a_wrong_field_is_a_peer_error(handed: list[object]) -> None:
    body = json.loads(encode(Down("d", "s", 1, 1, 0, 0.0)))
    body[8] = [handed]
    with pytest.raises(PeerError):
        decode(json.dumps(body).encode())


def test_an_unknown_stop_is_a_peer_error() -> None:
    body = json.loads(encode(Down("d", "s", 1, 1, 0, 0.0)))
    body[10] = "explode"
    with pytest.raises(PeerError):
        decode(json.dumps(body).encode())


@pytest.mark.parametrize("every", [0, -1.0, 1e9, float("nan")])
def test_reports_that_would_never_come_are_not_asked_for(every: float) -> None:
    with pytest.raises(PeerError):
        decode(encode(Down("d", "s", 1, 1, 0, 0.0, every_s=every)))


@pytest.mark.parametrize("number", ["Infinity", "-Infinity", "NaN", "1e999"])
def test_numbers_that_are_none_are_a_peer_error(number: str) -> None:
    text = encode(Up("s", 1, 0, 0.5, (), 17)).decode()
    with pytest.raises(PeerError):
        decode(text.replace("17", number).encode())


def test_json_nested_without_end_is_a_peer_error() -> None:
    for data in (b"[" * 1_000_000, b'["D",1,' + b"[" * 200_000 + b"]" * 200_000 + b"]"):
        with pytest.raises(PeerError):
            decode(data)
