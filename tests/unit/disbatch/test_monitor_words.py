"""What the monitor says: figures, states, bars, details, and the page for where there is no terminal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from monitor_builders import context, engine, failure, running, snapshot

from disbatch.core.snapshot import Sample
from disbatch.monitor import describe
from disbatch.monitor.headline import figures, share, state_of, throughput, waiting
from disbatch.monitor.once import page
from disbatch.monitor.words import ago, bars, duration, exit_word, load, memory, rate


@pytest.mark.parametrize(
    ("per_s", "text"),
    [
        (0.0, "0.0/s"),
        (1234.4, "1,234/s"),
        (12.3, "12/s"),
        (2.46, "2.5/s"),
        (0.1, "6.0/min"),
        (0.001, "3.6/h"),
    ],
)
def test_rate(per_s: float, text: str) -> None:
    assert rate(per_s) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (0.0, "0s"), (119, "119s"), (120, "2m"), (7199, "120m"), (7200, "2h"), (1e6, "12d")],
)
def test_ago(seconds: float | None, text: str) -> None:
    assert ago(seconds) == text


@pytest.mark.parametrize(
    ("code", "text"),
    [(0, "0"), (127, "127"), (-9, "SIGKILL"), (-11, "SIGSEGV"), (-99, "signal 99"), (-100, "lost")],
)
def test_exit_word(code: int, text: str) -> None:
    assert exit_word(code) == text


def test_load_memory_duration() -> None:
    assert load(None, 4) == "–" and load(2.34, None) == "2.3" and load(2.34, 8) == "2.3/8"
    assert memory(None, 5) == "–" and memory(1 << 20, 64 << 20) == "1.0/64G"
    assert [duration(s) for s in (0.123, 9.94, 59.4, 61, 3700)] == ["0.1s", "9.9s", "59s", "1:01", "1:01:40"]


@given(st.lists(st.floats(0, 1e6), max_size=30), st.integers(1, 4))
def test_bars_are_a_character_for_each_value_in_each_line(values: list[float], height: int) -> None:
    lines = bars(values, height)
    assert len(lines) == height and {len(line) for line in lines} == {len(values)}
    if values and max(values) > 0:
        assert lines[0][values.index(max(values))] == "█"
    assert " " not in lines[-1]  # the ground can be seen


def test_bars_grow_over_lines() -> None:
    assert bars([0.0, 1.0, 2.0], 2) == ["  █", "▁██"]


def text_of(**more: object) -> str:
    return "  ".join(word.text for word in figures(snapshot(**more)))


def test_the_figures_of_a_run() -> None:
    assert text_of() == "18 ok  2 failed  8/8 slots busy  72 waiting  2.0/s  0:40 left"
    assert text_of(skipped=5) == "23 ok  2 failed  5 skipped  8/8 slots busy  67 waiting  2.0/s  0:38 left"
    assert text_of(total=None) == "18 ok  2 failed  8/8 slots busy  64 or more waiting  2.0/s"
    assert text_of(total=28, running=8) == "18 ok  2 failed  8/8 slots busy  0 waiting  2.0/s"
    assert text_of(rate=0.0).endswith("72 waiting  0.0/s")


def test_the_figures_at_the_end() -> None:
    assert text_of(over=True, running=0, done=98) == "98 ok  2 failed  1:05 in all"
    assert text_of(over=True, running=0) == "18 ok  2 failed  80 not run  1:05 in all"


def test_failures_are_toned_only_when_there_are_some() -> None:
    assert [word.tone for word in figures(snapshot(failed=0))][1] == ""
    assert [word.tone for word in figures(snapshot())][1] == "bad"


@pytest.mark.parametrize(
    ("more", "text", "tone"),
    [
        ({}, "running", "good"),
        ({"barrier": "#B\n", "running": 0, "ready": 0}, "at a barrier: #B\\n", "note"),
        ({"barrier": "#B\n", "running": 1, "ready": 0}, "1 task before a barrier: #B\\n", "note"),
        ({"barrier": "#B\n", "running": 1000, "ready": 234}, "1,234 tasks before a barrier: #B\\n", "note"),
        ({"slots": 0}, "waiting for engines", "note"),
        ({"state": "interrupted"}, "ending: interrupted", "note"),
        (
            {"state": "all tasks have been done", "over": True, "failed": 0},
            "ended: all tasks have been done",
            "good",
        ),
        ({"state": "all tasks have been done", "over": True}, "ended: 20 tasks: 18 ok, 2 failed", "bad"),
        (
            {
                "state": "all tasks have been done",
                "over": True,
                "failed": 0,
                "skipped": 4,
                "skipped_failed": 1,
            },
            "ended: 22 tasks: 21 ok, 1 failed (4 of them ended in earlier runs)",
            "bad",
        ),
        ({"state": "interrupted", "over": True}, "ended: interrupted", "bad"),
    ],
)
def test_the_state_in_words(more: dict[str, object], text: str, tone: str) -> None:
    word = state_of(snapshot(**more))
    assert (word.text, word.tone) == (text, tone)


def test_how_much_is_done_and_waits() -> None:
    assert share(snapshot()) == pytest.approx(0.2) and waiting(snapshot()) == 72
    assert share(snapshot(total=None)) is None and waiting(snapshot(total=None)) is None
    assert share(snapshot(total=0)) is None
    assert share(snapshot(total=10)) == 1.0 and waiting(snapshot(total=10)) == 0  # the list has grown since


SAMPLES = st.lists(st.tuples(st.floats(0.1, 50), st.integers(0, 1000)), min_size=2, max_size=60).map(
    lambda steps: [
        Sample(sum(s for s, _ in steps[: n + 1]), sum(e for _, e in steps[: n + 1]), 0, 0)
        for n in range(len(steps))
    ]
)


@given(SAMPLES, st.integers(1, 80))
def test_throughput_has_no_more_points_than_asked_for(samples: list[Sample], points: int) -> None:
    rates = throughput(samples, points)
    assert 1 <= len(rates) <= points and all(r >= 0 for r in rates)


@given(SAMPLES, st.integers(1, 80))
def test_throughput_that_has_been_drawn_stays_until_points_are_put_together(
    samples: list[Sample], points: int
) -> None:
    if len(samples) > 2 and -(-(len(samples) - 2) // points) == -(-(len(samples) - 1) // points):
        before, now = throughput(samples[:-1], points), throughput(samples, points)
        assert now[: len(before) - 1] == before[:-1]


def test_throughput_of_a_steady_run() -> None:
    samples = [Sample(float(n), 3 * n, 0, 0) for n in range(100)]
    assert throughput(samples, 10) == pytest.approx([3.0] * 9)
    assert throughput(samples[:1], 10) == [] and throughput([], 10) == []


# -- details


def test_details_of_an_engine_have_its_tasks_and_failures() -> None:
    text = str(describe.engine(engine(1), snapshot(failures=(failure(3, rank=1), failure(4)))))
    assert "run 21" in text and "run 20" not in text and "no such file" in text and "'4'" not in text
    assert "10 ended, 1 of these failed" in text and "2s ago" in text
    assert "more: only the longest" not in text
    assert "3 more: only the longest" in str(describe.engine(engine(1, busy=7, slots=7), snapshot()))


def test_details_of_the_others() -> None:
    assert ("limit", "ends after 70 tasks") in describe.context(context(limit=70), snapshot())
    assert ("attempt", "2") in describe.task(running(1)._replace(attempt=2))
    assert "attempt" not in dict(describe.task(running(1)))
    assert ("repeat index", "4") in describe.task(running(1)._replace(repeat_index=4))
    assert ("exit", "SIGKILL") in describe.failure(failure(1, -9)) and ("error", "–") in describe.failure(
        failure(1, 1, "")
    )


# -- without a terminal


def test_the_page_has_it_all() -> None:
    text = page(snapshot(), "Tasks_1", 100)
    for part in (
        "Tasks_1: running",
        "20%",
        "20 of 100",
        "72 waiting",
        "node01",
        "run 27",
        "no such file",
        "SIGKILL",
        "SSH0",
    ):
        assert part in text
    assert max(map(len, text.splitlines())) <= 100
    assert not any(line.endswith(" ") for line in text.splitlines())


def test_the_page_of_a_run_that_has_just_begun() -> None:
    empty = snapshot(engines=(), contexts=(), tasks=(), failures=(), history=(), total=None, slots=0, ready=0)
    assert page(empty, "run", 80).splitlines()[0] == "run: waiting for engines, 1:05"
    assert "Failures" not in page(empty, "run", 80)


def test_long_tables_are_cut_on_the_page() -> None:
    text = page(snapshot(engines=tuple(engine(n) for n in range(100))), "run", 80)
    assert "… and 60 more" in text and "Engines (100)" in text
