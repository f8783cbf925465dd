"""What is foreseen of a client's bursts, for how long a wrong guess is remembered, and when it is worth staying awake."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvsstcp.rhythm import Rhythm


def bursts(rhythm: Rhythm, *pieces: list[int]) -> list[int]:
    """What is waited for after each burst, which comes in these pieces."""
    found = []
    for burst in pieces:
        for piece in burst[:-1]:
            assert rhythm.heard(piece, False) == 1, "in the middle of a request any byte will do"
            assert rhythm.awaited == 0
        found.append(rhythm.heard(burst[-1], True))
    return found


def test_equal_bursts_are_foreseen_however_they_are_cut() -> None:
    assert bursts(Rhythm(), [144], [4, 140], [100, 44], [144], [4] * 36, [144]) == [1, 1, 1, 1, 144, 144]


def test_another_length_ends_it_until_there_are_as_many_again() -> None:
    rhythm = Rhythm()
    assert bursts(rhythm, *[[80]] * 6)[-1] == 80
    assert bursts(rhythm, *[[88]] * 5) == [1, 1, 1, 1, 88]


def test_a_wrong_guess_is_remembered() -> None:
    rhythm = Rhythm()
    bursts(rhythm, *[[80]] * 6)
    rhythm.missed()
    assert set(bursts(rhythm, *[[40]] * 250)) == {1}
    assert bursts(rhythm, *[[40]] * 20)[-1] == 40


def test_a_burst_that_is_only_late_was_no_wrong_guess() -> None:
    rhythm = Rhythm()
    bursts(rhythm, *[[80]] * 6)
    rhythm.missed()
    assert bursts(rhythm, [30, 50]) == [80]


def test_long_bursts_are_not_waited_for() -> None:
    rhythm = Rhythm()
    assert set(bursts(rhythm, *[[100_000]] * 1_000)) == {1}
    assert rhythm.awaited == 0


class Machine:
    """Bursts of 80 bytes that take so long where the server waits asleep, or awake, for the next. Seconds."""

    def __init__(self, asleep_s: float, awake_s: float):
        self.asleep_s, self.awake_s, self.now = asleep_s, awake_s, 0.0
        self.rhythm = Rhythm(lambda: self.now)

    def run(self, count: int, crowded: bool = False) -> str:
        """How each of them was waited for, once it was foreseen: A awake, z asleep."""
        how = ""
        for _ in range(count):
            least = self.rhythm.heard(80, True, crowded)
            if self.rhythm.awaited:
                assert (self.rhythm.awaited, least) == (80, 1), "awake we want to be woken by the first byte"
            awake = self.rhythm.awaited > 0
            self.now += self.awake_s if awake else self.asleep_s
            how += "A" if awake else "z" if least == 80 else "-"
        return how


def test_staying_awake_is_tried_soon_and_kept_where_it_is_worth_it() -> None:
    how = Machine(asleep_s=130e-6, awake_s=100e-6).run(20_000)
    assert how.startswith("-" * 4 + "z" * 128 + "A" * 192 + "z" * 64 + "A" * 256 + "z" * 64 + "A" * 320)
    assert how[10_000:].count("z") <= 3 * 64, "the other way is looked at less and less"
    assert "z" in how[10_000:], "but it is looked at"


@pytest.mark.parametrize("awake_s", [90e-6, 100e-6, 500e-6])
def test_where_it_gains_little_or_nothing_it_is_seldom_tried(awake_s: float) -> None:
    how = Machine(asleep_s=100e-6, awake_s=awake_s).run(20_000)
    assert how.startswith("-" * 4 + "z" * 128 + "A" * 64 + "z" * 256 + "A" * 64 + "z" * 512)
    assert 64 <= how[10_000:].count("A") <= 3 * 64


def test_when_it_begins_or_ceases_to_be_worth_it_that_is_noticed() -> None:
    machine = Machine(asleep_s=130e-6, awake_s=100e-6)
    machine.run(20_000)
    machine.asleep_s = 90e-6
    assert "A" not in machine.run(20_000)[5_000:5_100]
    machine.asleep_s = 130e-6
    assert "z" not in machine.run(20_000)[5_000:5_100]


def test_in_a_crowd_nobody_is_awaited() -> None:
    machine = Machine(asleep_s=130e-6, awake_s=100e-6)
    assert "A" not in machine.run(20_000, crowded=True)
    assert machine.run(20_000).endswith("A" * 2_000), "it is tried when the others are gone"
    assert machine.run(20_000, crowded=True)[64:] == "z" * 19_936
    machine = Machine(asleep_s=130e-6, awake_s=100e-6)
    assert machine.run(4 + 128 + 10).endswith("A" * 10)
    assert machine.run(54 + 10, crowded=True) == "A" * 54 + "z" * 10, (
        "a trial that ends in a crowd proves nothing"
    )
    assert machine.run(54 + 64 + 64) == "z" * (54 + 64) + "A" * 64, "but it is made up for"


def test_a_pause_of_the_client_that_falls_into_one_window_is_made_up_for() -> None:
    machine = Machine(asleep_s=130e-6, awake_s=100e-6)
    machine.run(150)
    machine.now += 10  # in the trial: as if staying awake had been bad
    assert machine.run(1_000).endswith("A" * 100)


def test_another_length_of_burst_begins_a_window_anew() -> None:
    machine = Machine(asleep_s=100e-6, awake_s=100e-6)
    machine.run(4 + 64 + 10)
    machine.rhythm.heard(88, True)
    machine.now += 10  # must not count: a window as long as this would make staying awake look good
    assert machine.run(1_000).startswith("-" * 4 + "z" * 64 + "A" * 64 + "z" * 256)


def test_while_awake_nothing_is_awaited_in_the_middle_of_a_burst_nor_after_another() -> None:
    machine = Machine(asleep_s=130e-6, awake_s=100e-6)
    assert machine.run(20_000).endswith("A")
    rhythm = machine.rhythm
    assert rhythm.awaited == 80
    assert (rhythm.heard(30, False), rhythm.awaited) == (1, 0), "the rest is less than a whole one"
    assert (rhythm.heard(50, True), rhythm.awaited) == (1, 80)
    assert (rhythm.heard(88, True), rhythm.awaited) == (1, 0)
    assert machine.run(200) == "-" * 4 + "A" * 196, "what is known of the machine still holds"


@given(st.lists(st.tuples(st.sampled_from([1, 2, 8, 16, 24]), st.booleans()), max_size=60), st.booleans())
def test_only_what_came_before_is_foreseen(heard: list[tuple[int, bool]], awake: bool) -> None:
    rhythm, burst, seen = Rhythm(), 0, []
    rhythm._awake = awake
    for count, whole in heard:
        wanted = rhythm.heard(count, whole)
        burst += count
        if whole:
            seen.append(burst)
            burst = 0
        same = whole and len(seen) >= 5 and len(set(seen[-5:])) == 1
        if (wanted, rhythm.awaited) != (1, 0):
            assert same and (wanted, rhythm.awaited) == ((1, seen[-1]) if awake else (seen[-1], 0))
