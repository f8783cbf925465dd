"""Contexts that join a run, their limits and labels, and soft stops of engines and contexts."""

import pytest
from disbatch_builders import Driver, task
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.driver_events import ContextLost, ContextOpened, Ending, JoinCame, Reply, SignalCame, Tick
from disbatch.core.errors import PeerError
from disbatch.core.fleet import EngineState
from disbatch.core.joining import (
    Answer,
    Join,
    Joining,
    Order,
    ProcessGone,
    Refusal,
    Rejoin,
    SignedIn,
    StopKind,
    Welcome,
    decode_joining,
    encode_joining,
)
from disbatch.core.losses import LossPolicy
from disbatch.core.printable import printable


def join(
    cid: str = "c1", label: str = "NIGHT", *, slots: int = 2, given: bool = True, limit: int = 0
) -> Join:
    return Join(cid, label, given, limit, ((f"{cid}-node", slots, False),), "host, process 7")


def joins(driver: Driver, message: Join) -> Joining:
    effects = driver.happens(JoinCame(message))
    (reply,) = [e for e in effects if isinstance(e, Reply)]
    assert reply.key == "disBatch context " + message.cid
    return reply.message


def order(driver: Driver, kind: StopKind, name: str, *, hard: bool = False) -> Answer:
    effects = driver.happens(JoinCame(Order(kind, name, "key", hard)))
    (reply,) = [e for e in effects if isinstance(e, Reply)]
    assert reply.key == "key" and isinstance(reply.message, Answer)
    return reply.message


# -- joining


def test_a_context_that_joins_gets_ranks_and_then_tasks() -> None:
    d = Driver(waits=True)
    d.lists(*map(task, range(3)))
    assert joins(d, join()) == Welcome("NIGHT", (0,))
    assert joins(d, join("c2", "DAY")) == Welcome("DAY", (1,))
    d.hello(0, 2, demand=2)
    assert d.assigned(0) == [(0, 1), (1, 1)]
    assert "context NIGHT joins (host, process 7): 1 engine, 2 slots" in d.texts()


def test_a_label_of_a_living_context_is_refused_and_a_default_one_is_numbered() -> None:
    d = Driver(waits=True)
    d.lists(task(0))
    joins(d, join("c1", "J7"))
    refused = joins(d, join("c2", "J7"))
    assert isinstance(refused, Refusal) and "'J7' is taken" in refused.why and "-l" in refused.why
    assert joins(d, join("c3", "J7", given=False)) == Welcome("J7.2", (1,))
    d.happens(ContextLost("c1", "closed"))
    assert joins(d, join("c4", "J7")) == Welcome("J7", (2,))


@pytest.mark.parametrize(
    "label", ["NIGHT\ndisBatch: all tasks have been done", "N\x1b[2J", "N\u202eX", "N\udcff"]
)
@pytest.mark.parametrize("given", [False, True])
def test_a_label_with_control_characters_is_refused(label: str, given: bool) -> None:
    refusal = joins(Driver(), join(label=label, given=given))
    assert isinstance(refusal, Refusal) and "control characters" in refusal.why and "-l" in refusal.why
    assert refusal.why.isprintable()


@pytest.mark.parametrize("given", [False, True])
def test_a_label_is_bounded(given: bool) -> None:
    assert joins(Driver(), join(label="x" * 64, given=given)) == Welcome("x" * 64, (0,))
    refusal = joins(Driver(), join(label="x" * 65, given=given))
    assert isinstance(refusal, Refusal) and "at most 64 characters" in refusal.why and "-l" in refusal.why


@pytest.mark.parametrize(
    "message",
    [
        join()._replace(nodes=(("a\nb", 1, False),)),
        join()._replace(where="host\n, process 7"),
        Rejoin("c1", "L", 0, ((0, "a\tb", 1, False),), "host", True),
        Rejoin("c1", "L", 0, (), "ho\x1bst", True),
    ],
)
def test_names_of_hosts_with_control_characters_are_no_names(message: Joining) -> None:
    with pytest.raises(PeerError, match="control characters"):
        decode_joining(encode_joining(message))


def test_nobody_joins_a_run_that_is_ending_and_nobody_joins_twice() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    assert isinstance(joins(d, join()), Welcome)
    assert not [e for e in d.happens(JoinCame(join())) if isinstance(e, Reply)]
    d.happens(SignalCame(Ending.SIGTERM))
    assert joins(d, join("c2", "DAY")) == Refusal("the run is ending")


def test_engines_that_were_never_started_go_with_their_context() -> None:
    d = Driver(waits=True)
    d.lists(task(0))
    joins(d, join())
    d.happens(ContextLost("c1", "connection reset"))
    assert "its context has ended (connection reset)" in d.texts("error")
    assert not d.over and "waiting for more to join" in d.texts("warning")


def test_only_the_context_itself_speaks_for_its_engines() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    joins(d, join())
    d.happens(JoinCame(ProcessGone("c1", 0, "a lie")))
    assert d.core.fleet.engines[0] in d.core.fleet.living()
    d.happens(JoinCame(ProcessGone("c1", 1, "no such host")))
    assert "c1-node: no such host" in d.texts("error")


# -- without anybody


def test_without_waiting_a_run_ends_with_its_last_engine() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    d.happens(JoinCame(Order("engine", "0", "key")))
    d.finishes(0, demand=0)
    d.up(demand=0, bye="stopped")
    d.lists(end=False)
    assert d.over is not None and d.over.ending is Ending.COMPLETE


def test_a_run_that_waits_goes_on_when_somebody_joins_again() -> None:
    d = Driver(waits=True)
    d.lists(task(0), task(1))
    joins(d, join("c1", slots=1))
    d.hello(0, 1, demand=1)
    d.finishes(0, demand=0)
    d.up(0, demand=0, bye="sent SIGTERM")
    assert not d.over
    joins(d, join("c2", "DAY", slots=1))
    d.hello(1, 1, demand=1)
    assert d.assigned(1) == [(1, 1)]
    d.finishes(1, rank=1)
    d.up(1, demand=0, bye="over")
    assert d.over is not None and d.over.ending is Ending.COMPLETE


# -- limits


def test_a_context_gets_no_more_than_its_limit_and_ends_with_it() -> None:
    d = Driver()
    d.happens(ContextOpened("SSH0", 3))
    d.engine(0, 2)
    d.lists(*map(task, range(6)))
    d.finishes(0, demand=2)
    d.finishes(1, demand=2)
    assert d.assigned(0) == [(0, 1), (1, 1), (2, 1)] and d.stops(0) == []
    d.finishes(2, demand=2)
    assert d.stops(0) == ["finish"] and "has run its 3 tasks (-C) and ends" in d.texts()
    d.up(0, demand=0, bye="stopped")
    assert d.over is not None and d.over.ending is Ending.NO_ENGINE


def test_an_engine_that_comes_back_after_its_context_has_reached_its_limit_is_told_to_end() -> None:
    """Else it holds no task and gets none, and a run without another engine waits for ever."""
    d = Driver(losses=LossPolicy(lease_s=10.0))
    d.happens(ContextOpened("SSH0", 1))
    d.engine(1)
    d.lists(task(0), task(1))
    d.engine(0)
    for _ in range(12):
        d.now_s += 1.0
        d.up(1, demand=1)
        d.happens(Tick())
    assert d.core.fleet.engines[0].state is EngineState.LOST
    d.finishes(0, rank=1, demand=1)
    assert d.stops(1) == ["finish"]
    d.hello(0, demand=1, sid="sid0.1", ep=2)
    assert d.core.fleet.engines[0].stop == "finish"
    assert [m.stop for m in d.sent if m.sid == "sid0.1"] == ["finish"]


def test_what_a_limited_context_cannot_take_goes_to_the_other_at_once() -> None:
    d = Driver()
    d.happens(ContextOpened("SSH0", 1))
    d.engine(0, 4, demand=0)
    joins(d, join("c1", "DAY", slots=4))
    d.hello(1, 4, demand=4)
    d.up(0, demand=4)
    d.lists(*map(task, range(5)))
    assert len(d.assigned(0)) == 1 and len(d.assigned(1)) == 4


def test_a_task_that_comes_back_is_not_charged() -> None:
    d = Driver()
    d.happens(ContextOpened("SSH0", 1))
    d.engine(0, 2)
    d.lists(task(0), task(1))
    assert d.assigned(0) == [(0, 1)]
    d.up(0, demand=2, returned=((0, 1),))
    assert d.assigned(0) == [(0, 1), (0, 2)]


# -- soft stops


def test_an_engine_that_is_stopped_ends_alone() -> None:
    d = Driver()
    d.engine(0, 1)
    d.engine(1, 1)
    d.lists(*map(task, range(4)))
    answer = order(d, "engine", "0")
    assert answer.done and "engine 0 on node0" in answer.text and "1 running task " in answer.text
    assert d.stops(0) == ["finish"] and d.stops(1) == []
    d.finishes(0, rank=0, demand=0)
    assert len(d.assigned(0)) == 1
    d.finishes(1, rank=1)
    assert d.assigned(1) == [(1, 1), (2, 1)]


@pytest.mark.parametrize(
    ("kind", "name", "words"),
    [
        ("engine", "9", "no engine '9'"),
        ("engine", "x", "no engine 'x'"),
        ("context", "DAY", "no context 'DAY' (it has: SSH0)"),
    ],
)
def test_orders_that_make_no_sense(kind: StopKind, name: str, words: str) -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    answer = order(d, kind, name)
    assert not answer.done and words in answer.text


def test_a_context_is_stopped_with_all_its_engines_once() -> None:
    d = Driver()
    d.engine(0)
    d.engine(1)
    d.lists(*map(task, range(4)))
    assert order(d, "context", "SSH0").done
    assert d.stops(0) == d.stops(1) == ["finish"]
    d.exits(0)
    d.exits(1)
    assert not order(d, "context", "SSH0").done


def test_a_hard_stop_follows_a_soft_one() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    order(d, "engine", "0")
    order(d, "context", "SSH0", hard=True)
    order(d, "engine", "0")
    assert d.stops(0) == ["finish", "kill"]


def test_the_run_may_stop_a_stopping_engine_harder() -> None:
    d = Driver()
    d.engine()
    d.lists(task(0))
    order(d, "engine", "0")
    d.happens(SignalCame(Ending.SIGINT))
    assert d.stops(0) == ["finish"]
    d.happens(SignalCame(Ending.SIGTERM))
    assert d.stops(0) == ["finish", "kill"]


# -- the codec

_texts = st.text(max_size=20)
_names = _texts.map(printable)  # of hosts: others are refused
_MESSAGES: st.SearchStrategy[Joining] = st.one_of(
    st.builds(
        Join,
        _texts,
        _texts,
        st.booleans(),
        st.integers(0, 9),
        st.lists(st.tuples(_names, st.integers(1, 9), st.booleans())).map(tuple),
        _names,
    ),
    st.builds(ProcessGone, _texts, st.integers(0, 9), _texts),
    st.builds(Order, st.sampled_from(["engine", "context"]), _texts, _texts, st.booleans()),
    st.builds(SignedIn, st.integers(0, 9)),
    st.builds(Welcome, _texts, st.lists(st.integers(0, 9)).map(tuple)),
    st.builds(Refusal, _texts),
    st.builds(Answer, st.booleans(), _texts),
)


@given(_MESSAGES)
def test_messages_come_back_as_they_went(message: Joining) -> None:
    assert decode_joining(encode_joining(message)) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'["J",1]',
        b'["Q",1]',
        b'["O",1,"x","y","z"]',
        b'["G",1,"c",-1,"w"]',
        b"\xff",
        b'["R",99,"x"]',
    ],
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(PeerError):
        decode_joining(data)
