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
    assert bursts(Rhythm(), [144], [4, 140], [100, 44], [144], [4] * 36, [144]) == [1, 1, 1, 1, 144, 144]


def test_another_length_ends_it_until_there_are_as_many_again() -> None:
    rhythm = Rhythm()
    assert bursts(rhythm, *[[10]] * 6)[-1] == 10
    assert bursts(rhythm, *[[11]] * 5) == [1, 1, 1, 1, 11]


def test_a_wrong_guess_is_remembered() -> None:
    rhythm = Rhythm()
    bursts(rhythm, *[[10]] * 6)
    rhythm.missed()
    assert set(bursts(rhythm, *[[4]] * 250)) == {1}
    assert bursts(rhythm, *[[4]] * 20)[-1] == 4


def test_a_burst_that_is_only_late_was_no_wrong_guess() -> None:
    rhythm = Rhythm()
    bursts(rhythm, *[[10]] * 6)
    rhythm.missed()
    assert bursts(rhythm, [3, 7]) == [10]


def test_long_bursts_are_not_waited_for() -> None:
    assert set(bursts(Rhythm(), *[[100_000]] * 20)) == {1}


@given(st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=60))
def test_only_what_came_before_is_foreseen(heard: list[tuple[int, bool]]) -> None:
    rhythm, burst, seen = Rhythm(), 0, []
    for count, whole in heard:
        wanted = rhythm.heard(count, whole)
        burst += count
        if whole:
            seen.append(burst)
            burst = 0
        assert wanted == 1 or (whole and seen[-5:] == [wanted] * 5)
