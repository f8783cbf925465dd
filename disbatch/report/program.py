"""`disbatch-report`: options in, exit code out. Reads the files and hands the figures to whoever shows them."""

import argparse
import json
import os
import sys
from dataclasses import asdict
from typing import NoReturn

from disbatch import __version__
from disbatch.core.errors import DisBatchError, MachineError, StatusFileError
from disbatch.core.printable import printable, printable_message
from disbatch.monitor.digest import how_ended
from disbatch.options import HelpFormatter, Parser, count_from
from disbatch.output import leave_with
from disbatch.report.figures import make_report
from disbatch.report.model import Report
from disbatch.report.reader import BLOCK, StatusFiles
from disbatch.report.times import RunTimes
from disbatch.report.usage import UsageTable, read_usage, usage_path
from kvsstcp.ownfile import check_replaceable, create_file

# of the JSON form: one more when a field goes or changes its meaning; further fields change nothing
SCHEMA = 1
TOP = 10  # rows of the lists of longest tasks, failures, leaks: what fits on a page


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = Parser(
        prog="disbatch-report",
        description="Shows what a run was like, from its status file; works while it runs as well. Several files are a "
        "run and those that resumed it: what happened last to a task is what counts.",
        formatter_class=HelpFormatter,
        allow_abbrev=False,
    )
    made.add_argument(
        "files",
        nargs="+",
        metavar="STATUSFILE",
        help="PREFIX_status.txt; PREFIX_usage.txt beside it is read too",
    )
    made.add_argument(
        "--html",
        metavar="FILE",
        help="write a page with charts as well; it needs nothing else to be looked at",
    )
    made.add_argument("--json", action="store_true", help="print the figures as JSON instead of tables")
    made.add_argument("--top", metavar="N", type=count_from(1), default=TOP, help="how many to list of longest tasks, failures and the like (default: %(default)s)")  # fmt: skip
    made.add_argument("--version", action="version", version=f"disBatch {__version__}")
    return made


def main(arguments: list[str]) -> int:
    """Runs the program; returns its exit code."""
    options = parser().parse_args(arguments)
    try:
        with StatusFiles(options.files) as files:
            usages = [_usage_of(path) for path in files.paths]
            report, times = make_report(
                files.rows, files.paths, files.notes, usages, files.record, how_ended, options.top
            )
            if options.html:
                _write_page(options.html, files, report, times, usages)
        _print(report, options)
    except DisBatchError as error:
        print(f"disbatch-report: error: {printable_message(str(error))}", file=sys.stderr)
        return error.exit_code
    return 0


def _print(report: Report, options: argparse.Namespace) -> None:
    if options.json:
        json.dump({"schema": SCHEMA} | asdict(report), sys.stdout, indent=1, allow_nan=False)
        print()
        return
    from disbatch.report.terminal import print_report

    print_report(report, sys.stdout, options.top)
    if options.html:
        print(f"\nPage: {printable(options.html)}")


def _usage_of(path: str) -> UsageTable | None:
    """The usage file beside a status file, if there is one."""
    beside = usage_path(path)
    if beside is None or not os.path.exists(beside):
        return None
    try:
        with open(beside, "rb", buffering=0) as file:
            return read_usage(iter(lambda: file.read(BLOCK), b""), beside)
    except OSError as error:
        raise StatusFileError(f"cannot read the usage file {beside}: {error.strerror}") from None


def _write_page(
    path: str, files: StatusFiles, report: Report, times: list[RunTimes], usages: list[UsageTable | None]
) -> None:
    """All of the page or nothing: it takes its place when it is complete."""
    from disbatch.report.page import page

    text = page(report, times, files.rows, usages, files.record)
    part = f"{path}.{os.getpid()}.part"
    made = False
    try:
        check_replaceable(path)
        with os.fdopen(create_file(part), "w", encoding="utf-8", errors="replace") as file:
            made = True
            file.write(text)
        os.replace(part, path)
    except OSError as error:
        if made:
            os.unlink(part)
        raise MachineError(f"cannot write the page {path}: {error.strerror}") from None


def program() -> NoReturn:
    """The command `disbatch-report`."""
    leave_with(_main)


def _main() -> int:
    try:
        return main(sys.argv[1:])
    except KeyboardInterrupt:
        return 130
