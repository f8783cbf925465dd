"""How a run went over time: bounded, evenly spaced, and a rate of the last seconds."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.history import MAX_SAMPLES, RATE_WINDOW_S, History
from disbatch.core.snapshot import Sample


def sample(elapsed_s: float, ended: int = 0) -> Sample:
    return Sample(elapsed_s, ended, 0, 2)


def steady(seconds: int, per_s: int = 1) -> History:
    history = History()
    for second in range(seconds):
        history.note(sample(float(second), second * per_s))
    return history


def test_a_short_run_keeps_every_sample() -> None:
    assert steady(50).samples() == tuple(sample(float(n), n) for n in range(50))


@given(st.integers(1, 20_000))
def test_a_long_run_keeps_samples_from_start_to_now_evenly(seconds: int) -> None:
    samples = steady(seconds).samples()
    assert len(samples) <= MAX_SAMPLES + 1
    assert samples[0].elapsed_s == 0.0 and samples[-1].elapsed_s == seconds - 1
    gaps = {b.elapsed_s - a.elapsed_s for a, b in pairwise(samples[:-1])}
    assert len(gaps) <= 1  # only the newest one may come early
    assert seconds < MAX_SAMPLES or len(samples) >= MAX_SAMPLES // 2


def test_timers_that_are_late_lose_no_sample() -> None:
    history = History()
    for n in range(1000):
        history.note(sample(n * 1.003 + (n % 7) * 0.01))
    assert len(history.samples()) >= MAX_SAMPLES // 2


def test_the_rate_is_that_of_the_last_seconds() -> None:
    history = History()
    assert history.rate(0.0, 0) == 0.0
    for second in range(100):
        history.note(sample(float(second), 10 * second))
    assert history.rate(100.0, 1000) == pytest.approx(10.0)
    for second in range(100, 100 + int(RATE_WINDOW_S) * 2):
        history.note(sample(float(second), 1000))
    assert history.rate(100 + RATE_WINDOW_S * 2, 1000) == pytest.approx(0.0)


def test_the_rate_before_the_first_sample_is_that_of_the_run() -> None:
    assert History().rate(2.0, 10) == 5.0


def test_the_rate_of_one_moment() -> None:
    history = History()
    history.note(sample(1.0, 5))
    assert history.rate(1.0, 5) == 5.0
