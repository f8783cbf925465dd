"""Names, commands and output with control characters, in everything that people look at: escaped, in one way."""

import io
from pathlib import Path

import pytest
from monitor_builders import context, engine, failure, running, snapshot
from report_builders import report_of, row, write

from disbatch.core.driver_events import Ending
from disbatch.core.errors import TaskFileError
from disbatch.core.letters import Sender, letter
from disbatch.core.mailbag import Parcel
from disbatch.core.printable import is_plain, printable, printable_message
from disbatch.ctl import build_parser
from disbatch.monitor import describe
from disbatch.monitor.digest import digest, resume_command
from disbatch.monitor.once import page
from disbatch.monitor.progress import message, plain_line
from disbatch.options import Parser
from disbatch.report import page as html
from disbatch.report.terminal import print_report
from disbatch.runtime.logs import open_log

NASTY = "a\n2026-11-28 INFO forged\r\x1b]0;t\x07\x9b2J\u202eb\t\udcff"
SHOWN = "a\\n2026-11-28 INFO forged\\r\\x1b]0;t\\x07\\u009b2J\\u202eb\\t\\xff"


def assert_plain(text: str) -> None:
    """Only line feeds are left."""
    assert [line for line in text.split("\n") if not is_plain(line)] == []


def test_the_name_that_is_used_here() -> None:
    assert printable(NASTY) == SHOWN


def test_messages_of_a_run() -> None:
    said = message(f"engine on {NASTY} was lost:\n    it said {NASTY}", "error")
    assert said == f"disBatch: error: engine on {SHOWN} was lost:\n    it said {SHOWN}"


def test_a_name_forges_no_line_of_a_log(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = open_log(str(path), "INFO", "test_shown_names")
    try:
        log.info("context %s joins\n    with another line", NASTY)
        try:
            raise ValueError(NASTY)
        except ValueError:
            log.exception("a defect")
    finally:
        for handler in log.handlers:
            handler.close()
    text = path.read_text()
    assert_plain(text)
    assert f"context {SHOWN} joins\n    with another line\n" in text
    assert "a defect: ValueError: a 2026-11-28 INFO forged" in text
    first = [line for line in text.splitlines() if not line.startswith("    ")]
    assert len(first) == 2 and first[0].split()[2] == "INFO" and first[1].split()[2] == "ERROR"


def test_the_state_in_a_line() -> None:
    assert plain_line(snapshot(barrier=NASTY), 1.0).endswith(f"waiting at {SHOWN}")


def test_the_help_of_a_runs_own_script() -> None:
    text = build_parser(f"{NASTY}_dbUtil.sh").format_help()
    assert_plain(text)
    assert "$'./a\\n2026-11-28 INFO forged\\r\\x1b]0;t" in text


def test_digest_and_resume_command() -> None:
    for line in digest(snapshot(done=1), (), Ending.COMPLETE, f"{NASTY}_status.txt"):
        assert is_plain(line)
    command = resume_command(["-p", NASTY, "T"], f"{NASTY}_status.txt", retry=False)
    assert is_plain(command)
    assert (
        "-p $'a\\n2026-11-28 INFO forged\\r\\x1b]0;t\\x07\\xc2\\x9b2J\\xe2\\x80\\xaeb\\t\\xff' T" in command
    )


def test_the_page_of_once_and_details() -> None:
    s = snapshot(
        engines=(engine(0, NASTY, context=NASTY),),
        contexts=(context(NASTY),),
        tasks=(running(1, command=NASTY),),
        failures=(failure(1, error=NASTY)._replace(command=NASTY, node=NASTY),),
        barrier=NASTY,
    )
    text = page(s, NASTY, 400)
    assert_plain(text)
    assert text.startswith(SHOWN) and text.count(SHOWN) >= 5
    pairs = [
        *describe.engine(s.engines[0], s),
        *describe.context(s.contexts[0], s),
        *describe.task(s.tasks[0]),
        *describe.failure(s.failures[0]),
    ]
    assert all(is_plain(value) for _, value in pairs)


def test_the_report_on_a_terminal_and_as_a_page(tmp_path: Path) -> None:
    path = write(tmp_path / NASTY, row(0, 0, 1, node="n\x1b[2J\u202e1", command="c\x1b[2J", code=1))
    r = report_of(path)
    r.notes.append(NASTY)
    r.advice.append(NASTY)
    out = io.StringIO()
    print_report(r, out, 10)
    assert_plain(out.getvalue())
    assert "n\\x1b[2J\\u202e1" in out.getvalue() and f"Note: {SHOWN}" in out.getvalue()
    assert html.escape(f"<{NASTY}>") == f"&lt;{SHOWN}&gt;"
    assert "c\\x1b[2J" in html._tasks(r.longest) and is_plain(html._tasks(r.longest))
    assert is_plain(html._nodes(r))


def test_a_mail() -> None:
    sender = Sender(NASTY, NASTY, NASTY, f"/w/{NASTY}_status.txt")
    subject, body = letter(sender, Parcel(0.0, first=True), 1.0, snapshot(barrier=NASTY))
    assert is_plain(subject)
    assert_plain(body)


def test_an_error_of_a_task_file() -> None:
    error = TaskFileError(NASTY, 3, NASTY.encode("utf-8", "surrogateescape"), "bad")
    shown = printable_message(str(error)).split("\n")
    assert shown[0] == f"{SHOWN}, line 3: bad" and len(shown) == 2 and shown[1].startswith("    a\\n2026")


def test_an_option_that_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Parser(prog="x").parse_args([NASTY])
    said = capsys.readouterr().err
    assert_plain(said)
    assert said.count("\n") == 1 and SHOWN in said
