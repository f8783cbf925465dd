"""When a mail is due, what it tells, and where it goes."""

import argparse
from pathlib import Path

import pytest
from disbatch_builders import barrier, outcome, per_engine, task
from hypothesis import given
from hypothesis import strategies as st

from disbatch.core.errors import UsageError
from disbatch.core.failures import FailureGroup
from disbatch.core.letters import Sender, last_letter, letter
from disbatch.core.mailbag import SHOWN, Mailbag, Parcel, plain, task_lines
from disbatch.core.notable import Batch, RunEnd
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.status import StatusRecord, barrier_record, task_record
from disbatch.runtime.mailsettings import MailSettings, mail_settings

SENDER = Sender("Tasks", "job7", "vm", "/d/run_status.txt")


def row(task_id: int, code: int = 0, error: str = "", command: bytes = b"true") -> StatusRecord:
    return task_record(task(task_id, command), "vm", outcome(code, err_snippet=error))


def fine(count: int, first: int = 0) -> Batch:
    return Batch([row(first + n) for n in range(count)], 0)


def picture(**changes: object) -> RunSnapshot:
    values = {"elapsed_s": 75.0, "done": 5, "failed": 2, "skipped": 1, "running": 3, "ready": 0, "total": 20}
    return RunSnapshot(**(values | {"barrier": "", "state": "running", "engines": ()} | changes))  # type: ignore[arg-type]


def bag(every: int = 1, interval_s: float = 60.0) -> Mailbag:
    return Mailbag(0.0, every, interval_s, 15.0)


def test_first_mail_goes_at_once_and_the_next_after_the_interval() -> None:
    mails = bag()
    assert mails.due(0.0) is None
    mails.add(fine(1))
    assert mails.due(1.0) == 0.0
    assert mails.take(1.0).finished == 1
    mails.add(fine(9_999))
    assert mails.due(1.0) is None  # one is under way
    mails.delivered(2.0)
    assert mails.due(10.0) == 52.0
    assert mails.take(62.0).finished == 9_999


def test_every_hundred_tasks() -> None:
    mails = bag(every=100)
    mails.add(fine(99))
    assert mails.due(5.0) is None
    mails.add(Batch([barrier_record(barrier(7), "vm", 1, 0.0, 1.0)], 50))
    mails.add(Batch([task_record(per_engine("START", 0), "vm", outcome(1))], 0))
    assert mails.due(5.0) is None  # none of these is a finished task
    mails.add(fine(1))
    assert mails.due(5.0) == 0.0
    parcel = mails.take(5.0)
    assert (parcel.finished, parcel.failed, parcel.skipped) == (100, 0, 50)


def test_zero_means_that_only_the_last_is_sent() -> None:
    mails = bag(every=0)
    mails.add(fine(1000))
    assert mails.due(1e6) is None
    assert mails.take(1e6).finished == 1000


def test_what_could_not_be_sent_is_told_with_what_came_since() -> None:
    mails = bag()
    mails.add(Batch([row(0), row(1, 3)], 4))
    mails.take(1.0)
    mails.add(fine(3, first=2))
    mails.failed(2.0)
    parcel = mails.take(17.0)
    assert (parcel.since_s, parcel.finished, parcel.failed, parcel.skipped) == (0.0, 5, 1, 4)
    assert [r.task_id for r in parcel.fine] == [0, 2, 3, 4]
    assert [r.task_id for r in parcel.failures] == [1]


def test_tries_come_further_and_further_apart_until_one_succeeds() -> None:
    mails = bag()
    mails.add(fine(1))
    now, waits = 0.0, []
    for _ in range(8):
        mails.take(now)
        mails.failed(now)
        wait = mails.due(now)
        assert wait is not None
        waits.append(wait)
        now += wait
    assert waits == [15, 30, 60, 120, 240, 480, 480, 480]
    mails.take(now)
    assert mails.delivered(now) is True
    mails.add(fine(1))
    mails.take(now)
    mails.failed(now)
    assert mails.due(now) == 15


def test_each_cause_is_worth_one_warning_and_all_together_not_a_flood() -> None:
    mails = bag()
    assert [mails.is_new("refused"), mails.is_new("refused"), mails.is_new("timeout")] == [True, False, True]
    assert sum(mails.is_new(f"cause {n}") for n in range(1000)) == SHOWN - 2


@given(st.lists(st.sampled_from(["rows", "take", "ok", "bad"]), max_size=60))
def test_every_task_is_told_in_exactly_one_mail_that_arrives(steps: list[str]) -> None:
    mails, told, put, now = bag(interval_s=1.0), 0, 0, 0.0
    parcel: Parcel | None = None
    for step in [*steps, "ok", "take", "ok"]:
        now += 0.5
        if step == "rows":
            mails.add(fine(2, put))
            put += 2
        elif step == "take" and parcel is None:
            parcel = mails.take(now)
        elif step == "ok" and parcel is not None:
            told += parcel.finished
            mails.delivered(now)
            parcel = None
        elif step == "bad" and parcel is not None:
            mails.failed(now)
            parcel = None
    assert told == put


@pytest.mark.parametrize(
    ("running", "ready", "end"),
    [
        (0, 0, "BARRIER."),
        (1, 0, "1 task before it has to end first."),
        (2, 3, "5 tasks before it have to end first."),
    ],
)
def test_letter_tells_what_a_barrier_waits_for(running: int, ready: int, end: str) -> None:
    seen = picture(barrier="#DISBATCH BARRIER", running=running, ready=ready)
    _, body = letter(SENDER, Parcel(15.0), 75.0, seen)
    (line,) = [line for line in body.splitlines() if "waits at" in line]
    assert line.endswith(end)


def test_letter_tells_counts_failures_and_where_the_status_file_is() -> None:
    parcel = Parcel(15.0)
    parcel.add(Batch([row(4), row(5, -9), row(6, 3, "warning\nno licence\n", b"sim -x 'a b'")], 0))
    subject, body = letter(SENDER, parcel, 75.0, picture(barrier="#DISBATCH BARRIER"))
    assert subject == "disBatch Tasks: 8 tasks: 6 ok, 2 failed so far"
    assert body == (
        "Run job7 of Tasks, driver on vm\n\n"
        "Since the last mail (0:01:00): 3 tasks: 1 ok, 2 failed.\n\n"
        "In all: 8 of 20 tasks: 6 ok, 2 failed (1 of them ended in earlier runs), 3 running; 0:01:15 since the start.\n"
        "The run waits at #DISBATCH BARRIER. 3 tasks before it have to end first.\n\n"
        "Failed:\n"
        "  task 5, line 6, on vm: signal 9 after 0.5 s\n"
        "      true\n"
        "  task 6, line 7, on vm: exit code 3 after 0.5 s\n"
        "      sim -x 'a b'\n"
        "      no licence\n\n"
        "Went well:\n"
        "  task 4, line 5, on vm: exit code 0 after 0.5 s\n"
        "      true\n\n"
        "Status file: /d/run_status.txt on vm\n"
    )


def test_last_letter_tells_how_it_ended_and_why_tasks_failed() -> None:
    end = RunEnd(
        "SIGINT", "interrupted", 130, picture(), [FailureGroup(3, "no licence", 2, 6, "no licence")], True
    )
    subject, body = last_letter(SENDER, Parcel(75.0), 75.0, end)
    assert subject == "disBatch Tasks ended early: 8 tasks: 6 ok, 2 failed"
    assert "The run ended early after 0:01:15: interrupted.\nThe exit code of disBatch is 130.\n" in body
    assert "Why tasks failed:\n  2 x exit code 3: no licence (e.g. task 6)\n" in body
    assert "To go on, run disBatch with -r and the status file." in body
    assert "Since the last mail" not in body  # nothing finished since
    whole = RunEnd("COMPLETE", "all tasks have been done", 0, picture(), [], False)
    subject, body = last_letter(SENDER, Parcel(15.0, 1, 0, 0, [row(1)], first=True), 75.0, whole)
    assert "Since the start (0:01:00): 1 task: 1 ok, 0 failed." in body
    subject, body = last_letter(SENDER, Parcel(75.0, 1, 0, 0, [row(1)]), 75.0, whole)
    assert subject.startswith("disBatch Tasks has ended: ") and "To go on" not in body
    assert "Since the last mail (0:00:00): 1 task: 1 ok, 0 failed." in body


def test_long_lists_are_cut_and_odd_text_cannot_break_a_mail() -> None:
    parcel = Parcel(0.0)
    parcel.add(fine(SHOWN + 5))
    lines = task_lines(parcel.fine, parcel.finished)
    assert lines[-1] == "  and 5 more" and len(lines) == 2 * SHOWN + 1
    assert plain("a\r\nBcc: x\x1b[1m", 50) == "a\\r\\nBcc: x\\x1b[1m"
    assert plain("x" * 300, 200) == "x" * 200 + "…"
    subject, _ = letter(Sender("x\ny", "j", "h", "/s"), parcel, 0.0, picture())
    assert "\n" not in subject


def options(to: str | None = "a@b.org", freq: int | None = None) -> argparse.Namespace:
    return argparse.Namespace(mailto=to, mailfreq=freq)


def test_settings_come_from_options_and_environment(tmp_path: Path) -> None:
    assert mail_settings(options(None), {}) is None
    assert mail_settings(options(), {}) == MailSettings(
        ("a@b.org",), 1, 60.0, "localhost", 25, "no", "", "", ""
    )
    (tmp_path / "secret").write_text("pass word\n")
    environ = {
        "DISBATCH_SMTP_HOST": "mail.example.org",
        "DISBATCH_SMTP_TLS": "starttls",
        "DISBATCH_SMTP_USER": "me",
        "DISBATCH_SMTP_PASSWORD_FILE": str(tmp_path / "secret"),
        "DISBATCH_MAIL_FROM": "me@example.org",
        "DISBATCH_MAIL_INTERVAL": "5",
    }
    found = mail_settings(options("a@b.org, root", 0), environ)
    assert found == MailSettings(
        ("a@b.org", "root"),
        0,
        5.0,
        "mail.example.org",
        587,
        "starttls",
        "me",
        "pass word",
        "me@example.org",
    )
    assert "pass word" not in repr(found)
    assert mail_settings(options(), {"DISBATCH_SMTP_TLS": "tls", "DISBATCH_SMTP_PORT": "2465"}).port == 2465  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("to", "environ", "says"),
    [
        ("", {}, "--mailTo: '' is no mail address"),
        ("a b@c", {}, "is no mail address"),
        ("a@b,,c@d", {}, "is no mail address"),
        ("a@b\nBcc: c@d", {}, "is no mail address"),
        ("a@b", {"DISBATCH_MAIL_FROM": "x y"}, "DISBATCH_MAIL_FROM: 'x y' is no mail address"),
        ("a@b", {"DISBATCH_SMTP_TLS": "yes"}, "no, starttls or tls is needed"),
        ("a@b", {"DISBATCH_SMTP_PORT": "0"}, "DISBATCH_SMTP_PORT is '0': a number from 1 to 65535"),
        ("a@b", {"DISBATCH_SMTP_PORT": "smtp"}, "a number from 1 to 65535 is needed"),
        ("a@b", {"DISBATCH_MAIL_INTERVAL": "nan"}, "a number from 0 to"),
        ("a@b", {"DISBATCH_SMTP_USER": "me", "DISBATCH_SMTP_HOST": "mail.org"}, "for everybody to read"),
        ("a@b", {"DISBATCH_SMTP_PASSWORD_FILE": "/nowhere"}, "cannot read /nowhere"),
    ],
)
def test_what_makes_no_sense_is_refused(to: str, environ: dict[str, str], says: str) -> None:
    with pytest.raises(UsageError, match=r"^[^\n]*$") as raised:
        mail_settings(options(to), environ)
    assert says in str(raised.value)


def test_the_first_mail_tells_of_the_time_since_the_start_even_if_it_failed_once() -> None:
    mails = Mailbag(5.0, 1, 1.0, 1.0)
    mails.add(Batch([row(1)], 0))
    assert mails.take(6.0).first
    mails.failed(6.0)
    assert mails.take(8.0).first
    mails.delivered(8.0)
    assert not mails.take(9.0).first
