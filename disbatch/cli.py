"""The command line: options in, exit code out. The options themselves are in `options`."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from disbatch.options import build_parser
from disbatch.output import leave_with, print_last
from disbatch.packages import REQUIRED, install_command, missing

if TYPE_CHECKING:
    from disbatch.monitor.console import RunView
    from disbatch.runtime.settings import RunSettings
    from disbatch.runtime.start import RunResult
    from disbatch.web.page import WebPage


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code. `argv` without the program's name."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    lacking = missing(REQUIRED)
    if lacking:
        command = install_command(lacking)
        print(
            f"disBatch: error: missing Python packages: {', '.join(lacking)}; install them with: {command}",
            file=sys.stderr,
        )
        return 2
    parser = build_parser()
    parser.given = arguments
    options = parser.parse_args(arguments)
    try:
        return _run(options, arguments)
    except KeyboardInterrupt:
        print("disBatch: interrupted before any task was started", file=sys.stderr)
        return 130


def program() -> NoReturn:
    """The console scripts of disBatch."""
    leave_with(main)


def program_below() -> NoReturn:
    """disBatch below a Python program. The first arguments are that program's process and the folder that it shares with
    disBatch, which whoever lives longer removes: it has secrets."""
    parent, folder = int(sys.argv[1]), sys.argv[2]
    del sys.argv[1:3]

    def run() -> int:
        try:
            return main()
        finally:
            if os.getppid() != parent:
                from shutil import rmtree

                rmtree(folder, ignore_errors=True)

    leave_with(run)


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    from disbatch.core.errors import DisBatchError
    from disbatch.core.printable import printable_message
    from disbatch.runtime.contextsettings import left_to_another
    from disbatch.runtime.settings import settings_from

    words = left_to_another(options, os.environ)
    if words:
        print_last(2, [f"disBatch: {words}"])
        return 0
    try:
        settings = settings_from(options, os.environ)
        if settings.dry_run:
            from disbatch.runtime.dryrun import dry_run

            return dry_run(settings)
        result, wait_s = _run_list(settings)
    except DisBatchError as error:
        print_last(2, [f"disBatch: error: {printable_message(str(error))}"])
        return error.exit_code
    if not settings.quiet:
        _tell_end(result, settings, arguments, wait_s)
    return result.exit_code


def _run_list(settings: "RunSettings") -> "tuple[RunResult, float]":
    """Run the list. Return its result, and how many seconds its last words may wait for a terminal that is stopped."""
    from disbatch.runtime.certificate import CertificateMaker
    from disbatch.runtime.startcheck import check_driver

    check_driver(settings.context)
    # first of all, as it takes longest: it works beside us while we import the rest
    maker = CertificateMaker()
    try:
        from disbatch.runtime.logs import quiet_libraries

        quiet_libraries()
        from disbatch.monitor.console import choose_view
        from disbatch.runtime.start import run

        view = choose_view(quiet=settings.quiet)
        page = _open_page(settings, view)
        try:
            result = run(settings, view, maker, page)
        finally:
            left_s = view.close()
            if page:
                page.close()
        return result, left_s
    finally:
        maker.close()


def _open_page(settings: "RunSettings", view: "RunView") -> "WebPage | None":
    """The web page, if one was asked for: only then is anything of it imported."""
    if settings.web is None:
        return None
    from disbatch.web.page import WebPage

    return WebPage(settings.web, settings.task_name, view.say)


def _tell_end(result: "RunResult", settings: "RunSettings", arguments: list[str], wait_s: float) -> None:
    """Print the digest, and as the very last line what resumes. The log has them, too: nobody may be able to read here."""
    from disbatch.monitor.digest import digest, resume_line

    lines = digest(result.snapshot, result.failures, result.ending, result.files.status)
    line = resume_line(
        arguments,
        result.files.status,
        result.ending,
        left=result.left,
        failed=result.failed,
        piped=settings.taskfile == "-",
        pipe=_pipe(settings.taskfile),
        earlier=result.earlier,
    )
    if line:
        lines.append(line)
    for each in lines:
        result.log.info(each)
    print_last(1, lines, wait_s)


def _pipe(taskfile: str | None) -> str:
    """The name of a task list that cannot be read once more: a FIFO, or `<(…)` of the shell, which is gone with this run."""
    if taskfile is None or taskfile == "-":
        return ""
    import stat

    try:
        again = stat.S_ISREG(os.stat(taskfile).st_mode)
    except OSError:
        again = False
    return "" if again else taskfile
