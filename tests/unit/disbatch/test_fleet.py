"""Engines: states, who may sign in, and a fair share of the work for each."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.errors import IllegalMoveError
from disbatch.core.fleet import ALLOWED_MOVES, Engine, EngineState, Fleet
from disbatch.core.messages import Hello

S = EngineState
ALLOWED = {
    (S.STARTING, S.RUNNING),
    (S.STARTING, S.STOPPING),
    (S.STARTING, S.LOST),
    (S.RUNNING, S.STOPPING),
    (S.RUNNING, S.STOPPED),
    (S.RUNNING, S.LOST),
    (S.STOPPING, S.STOPPED),
    (S.STOPPING, S.LOST),
}


def hello(rank: int = 0, sid: str = "s", ep: int = 1, slots: int = 2) -> Hello:
    return Hello(sid, ep, rank, "n", slots, 0.0, (), (), slots)


@pytest.mark.parametrize("old", EngineState)
@pytest.mark.parametrize("new", EngineState)
def test_moves(old: EngineState, new: EngineState) -> None:
    assert set(ALLOWED_MOVES) == set(EngineState)
    engine = Engine(3, "n3", 1, "L")
    engine.state = old
    if (old, new) in ALLOWED:
        engine.move(new)
        assert engine.state is new
    else:
        with pytest.raises(IllegalMoveError, match="engine 3 on n3"):
            engine.move(new)
        assert engine.state is old


def fleet(*slots: int) -> Fleet:
    made = Fleet()
    for rank, count in enumerate(slots):
        made.launched(rank, f"n{rank}", count, "L")
        engine = made.sign_in(hello(rank, f"s{rank}", slots=count))
        assert engine is not None
        engine.demand = count
    return made


def test_who_may_sign_in() -> None:
    f = Fleet()
    assert f.sign_in(hello()) is None  # nobody launched it
    f.launched(0, "n", 2, "L")
    engine = f.sign_in(hello(ep=3))
    assert engine is not None and engine.state is S.RUNNING and f.by_sid == {"s": engine}
    assert f.sign_in(hello(ep=3)) is None  # the same connection again
    assert f.sign_in(hello(ep=2)) is None  # an older one
    assert f.sign_in(hello(sid="other", ep=9)) is None  # not the session that has the rank
    assert f.sign_in(hello(ep=4)) is engine and engine.ep == 4
    engine.move(S.LOST)
    assert f.sign_in(hello(ep=5)) is None


def test_an_engine_that_is_stopping_may_reconnect_and_stays_so() -> None:
    f = fleet(2)
    f.engines[0].move(S.STOPPING)
    assert f.sign_in(hello(sid="s0", ep=2)) is f.engines[0]
    assert f.engines[0].state is S.STOPPING
    assert f.engines[0].room == 0


def shares(f: Fleet, ready: int) -> dict[int, int]:
    return {engine.rank: count for engine, count in f.servings(ready)}


def hold(f: Fleet, rank: int, count: int) -> None:
    f.engines[rank].held.update((1000 * rank + i, 1) for i in range(count))
    f.engines[rank].changed()


def test_free_slots_everywhere_come_before_work_held_ahead() -> None:
    f = fleet(2, 2)
    f.engines[0].demand = 50
    assert shares(f, 4) == {0: 2, 1: 2}
    assert shares(f, 3) in ({0: 2, 1: 1}, {0: 1, 1: 2})
    assert shares(f, 10) == {0: 8, 1: 2}
    hold(f, 0, 2)
    assert shares(f, 2) == {1: 2}
    assert shares(f, 5) == {0: 3, 1: 2}


def test_nobody_hungry() -> None:
    f = fleet(1, 1)
    hold(f, 0, 1)
    hold(f, 1, 1)
    assert shares(f, 5) == {}
    assert f.room == 0 and f.busy == 2


@given(
    st.lists(st.tuples(st.integers(1, 8), st.integers(0, 20), st.integers(0, 25)), min_size=1, max_size=6),
    st.integers(1, 60),
)
def test_shares_never_exceed_room_or_work_and_leave_no_slot_empty(
    engines: list[tuple[int, int, int]], ready: int
) -> None:
    f = fleet(*(slots for slots, _, _ in engines))
    for rank, (_, demand, held) in enumerate(engines):
        f.engines[rank].demand = demand
        hold(f, rank, held)
    free = {r: max(0, min(s, d) - h) for r, (s, d, h) in enumerate(engines)}
    room = {r: max(0, d - h) for r, (s, d, h) in enumerate(engines)}
    got = shares(f, ready)
    assert all(0 < count <= room[rank] for rank, count in got.items())
    assert sum(got.values()) == min(ready, sum(room.values()))
    in_slots = sum(min(free[rank], got.get(rank, 0)) for rank in free)
    assert in_slots == min(ready, sum(free.values()))


@given(st.lists(st.integers(1, 8), min_size=2, max_size=6), st.integers(1, 12))
def test_equal_engines_get_equal_shares(slots: list[int], ready: int) -> None:
    f = fleet(*[max(slots)] * len(slots))
    got = shares(f, ready)
    counts = [got.get(rank, 0) for rank in range(len(slots))]
    assert max(counts) - min(counts) <= 1


def test_what_an_earlier_session_still_changes_does_not_hide_what_the_next_one_does() -> None:
    """Seed 301,115 of the simulation: what the old session had reported got its line after the new one had ended."""
    f = fleet(2)
    old = f.engines[0]
    old.move(S.LOST)
    new = f.renew(old)
    new.move(S.RUNNING)
    assert not f.deserted
    new.move(S.STOPPED)
    old.changed()
    assert f.deserted
    f.check_invariants()
