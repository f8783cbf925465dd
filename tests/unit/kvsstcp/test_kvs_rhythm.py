"""What is foreseen of a client's bursts, and for how long a wrong guess is remembered."""

from hypothesis import given
from hypothesis import strategies as st

from kvsstcp.rhythm import Rhythm


def bursts(rhythm: Rhythm, *pieces: list[int]) -> list[int]:
    """What is waited for after each burst, which comes in these pieces."""
    found = []
    for burst in pieces:
        for piece in burst[:-1]:
            assert rhythm.heard(piece, False) == 1, "in the middle of a request any byte will do"
        found.append(rhythm.heard(burst[-1], True))
    return found


def test_equal_bursts_are_foreseen_however_they_are_cut() -> None:
    assert bursts(Rhythm(), [144], [4, 140], [100, 44], [144], [4] * 36, [144]) == [1, 1, 1, 1, 18, 18]


def test_another_length_ends_it_until_there_are_as_many_again() -> None:
    rhythm = Rhythm()
    assert bursts(rhythm, *[[80]] * 6)[-1] == 10
    assert bursts(rhythm, *[[88]] * 5) == [1, 1, 1, 1, 11]


def test_a_wrong_guess_is_remembered() -> None:
    rhythm = Rhythm()
    bursts(rhythm, *[[80]] * 6)
    rhythm.missed()
    assert set(bursts(rhythm, *[[40]] * 250)) == {1}
    assert bursts(rhythm, *[[40]] * 20)[-1] == 5


def test_a_burst_that_is_only_late_was_no_wrong_guess() -> None:
    rhythm = Rhythm()
    bursts(rhythm, *[[80]] * 6)
    rhythm.missed()
    assert bursts(rhythm, [30, 50]) == [10]


def test_after_having_been_too_early_whole_bursts_are_waited_for_and_longer_each_time() -> None:
    rhythm = Rhythm()
    bursts(rhythm, *[[80]] * 5)
    for patience in (16, 32, 64, 128, 256, 512, 1024, 1024):
        assert bursts(rhythm, [10, 70]) == [80], "we were woken for the first ten bytes"
        assert bursts(rhythm, *[[80]] * patience) == [80] * (patience - 1) + [10]


def test_being_too_early_now_and_then_is_borne_and_makes_up_for_what_was_before() -> None:
    rhythm = Rhythm()
    bursts(rhythm, *[[80]] * 5)
    assert bursts(rhythm, [10, 70], *[[80]] * 16)[-2:] == [80, 10]
    for _ in range(3):
        assert set(bursts(rhythm, *[[80]] * 8)) == {10}
        assert bursts(rhythm, [10, 70]) == [10]
    assert bursts(rhythm, [10, 70], *[[80]] * 16)[-2:] == [80, 10], "sixteen again, not thirty-two"


def test_long_bursts_are_not_waited_for() -> None:
    assert set(bursts(Rhythm(), *[[100_000]] * 20)) == {1}


@given(st.lists(st.tuples(st.sampled_from([1, 2, 8, 16, 24]), st.booleans()), max_size=60))
def test_only_what_came_before_is_foreseen(heard: list[tuple[int, bool]]) -> None:
    rhythm, burst, seen = Rhythm(), 0, []
    for count, whole in heard:
        wanted = rhythm.heard(count, whole)
        burst += count
        if whole:
            seen.append(burst)
            burst = 0
        same = len(seen) >= 5 and len(set(seen[-5:])) == 1
        assert wanted == 1 or (whole and same and wanted in (seen[-1], seen[-1] // 8))
