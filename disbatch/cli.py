"""The command line: options in, exit code out. The options themselves are in `options`."""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn

from disbatch.options import build_parser

if TYPE_CHECKING:
    from disbatch.monitor.progress import RunView
    from disbatch.runtime.settings import RunSettings
    from disbatch.runtime.start import RunResult
    from disbatch.web.page import WebPage

REQUIRED = ("rich", "psutil", "cryptography")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the program; returns its exit code. `argv` without the program's name."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    missing = [name for name in REQUIRED if find_spec(name) is None]
    if missing:
        packages = " ".join(missing)
        print(
            f"disBatch: error: missing Python packages; install them with: {sys.executable} -m pip install {packages}",
            file=sys.stderr,
        )
        return 2
    options = build_parser().parse_args(arguments)
    try:
        return _run(options, arguments)
    except KeyboardInterrupt:
        print("disBatch: interrupted before any task was started", file=sys.stderr)
        return 130


def program() -> NoReturn:
    """The console scripts of disBatch."""
    leave_with(main)


def leave_with(main: Callable[[], int]) -> NoReturn:
    """Ends the process with what `main` returns, without the interpreter's tidying up, which a short run would notice."""
    _secure_streams()
    try:
        code = main()
    except SystemExit as leaving:  # argparse, after --help and the like
        code = leaving.code if isinstance(leaving.code, int) else 0
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


def _secure_streams() -> None:
    """Makes sure that 0, 1 and 2 are open, or files of the run would take their numbers, and take any text."""
    for fd in range(3):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    if sys.stdout is None or sys.stderr is None:  # Python found them closed
        nowhere = open(os.devnull, "w")  # noqa: SIM115 - open as long as the program runs
        sys.stdout, sys.stderr = sys.stdout or nowhere, sys.stderr or nowhere
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    from disbatch.core.errors import DisBatchError
    from disbatch.runtime.settings import settings_from

    try:
        settings = settings_from(options, os.environ)
        if settings.dry_run:
            from disbatch.runtime.dryrun import dry_run

            return dry_run(settings)
        result = _run_list(settings)
    except DisBatchError as error:
        print(f"disBatch: error: {error}", file=sys.stderr)
        return error.exit_code
    if not settings.quiet:
        with contextlib.suppress(
            BrokenPipeError
        ):  # whoever reads has seen enough; the run keeps its exit code
            _tell_end(result, settings, arguments)
    return result.exit_code


def _run_list(settings: "RunSettings") -> "RunResult":
    from disbatch.runtime.certificate import CertificateMaker

    # first of all, as it takes longest: it works beside us while we import the rest
    maker = CertificateMaker()
    try:
        from disbatch.monitor.progress import choose_view
        from disbatch.runtime.start import run

        view = choose_view(quiet=settings.quiet)
        page = _open_page(settings, view)
        try:
            return run(settings, view, maker, page)
        finally:
            view.close()
            if page:
                page.close()
    finally:
        maker.close()


def _open_page(settings: "RunSettings", view: "RunView") -> "WebPage | None":
    """The web page, if one was asked for: only then is anything of it imported."""
    if settings.web is None:
        return None
    from disbatch.web.page import WebPage

    return WebPage(settings.web, settings.task_name, view.say)


def _tell_end(result: "RunResult", settings: "RunSettings", arguments: list[str]) -> None:
    """The digest, and as the very last line what resumes."""
    from disbatch.monitor.digest import digest, resume_line

    snapshot = result.snapshot
    for line in digest(snapshot, result.failures, result.ending, result.files.status):
        print(line)
    line = resume_line(
        arguments,
        result.files.status,
        result.ending,
        left=result.left,
        failed=result.failed,
        piped=settings.taskfile == "-",
        earlier=result.earlier,
    )
    if line:
        print(line)
    sys.stdout.flush()
