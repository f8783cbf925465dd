"""Figures for Prometheus, as its text format has them."""

import re

from monitor_builders import engine, snapshot

from disbatch.web.picture.metrics import metrics

SAMPLE = re.compile(
    r'[a-z_]+(\{[a-z]+="([^"\\\n]|\\["\\n])*"(,[a-z]+="([^"\\\n]|\\["\\n])*")*\})? -?[0-9.e+]+'
)


def test_each_line_is_a_sample_of_the_family_before_it() -> None:
    text = metrics(snapshot(engines=(engine(0), engine(1, state="LOST"))), "R1", 'a"b\\c\nd')
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP"):
            family = line.split()[2]
        elif line.startswith("# TYPE"):
            assert line.split()[2] == family and line.split()[3] in ("gauge", "counter")
        else:
            assert line.startswith(family) and SAMPLE.fullmatch(line), line
    assert text.endswith("\n")
    for sample in (
        'disbatch_run_info{run="R1",list="a\\"b\\\\c\\nd"} 1',
        'disbatch_tasks_ended_total{result="done"} 18',
        'disbatch_tasks_ended_total{result="failed"} 2',
        'disbatch_tasks{state="running"} 8',
        "disbatch_tasks_expected 100",
        'disbatch_engines{state="lost"} 1',
        'disbatch_engines{state="running"} 1',
        "disbatch_up 1",
    ):
        assert f"{sample}\n" in text


def test_what_is_not_known_is_left_out() -> None:
    text = metrics(snapshot(total=None, state="stopping", engines=()), "R", "T")
    assert "expected" not in text and "disbatch_engines" not in text and "disbatch_up 0\n" in text
