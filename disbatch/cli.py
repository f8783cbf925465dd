"""The command line: options in, exit code out. What options mean together is checked in `runtime.settings`."""

import argparse
import contextlib
import io
import os
import sys
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, NoReturn

from disbatch import __version__

if TYPE_CHECKING:
    from fractions import Fraction

    from disbatch.monitor.progress import RunView
    from disbatch.runtime.settings import RunSettings
    from disbatch.runtime.start import RunResult
    from disbatch.web.page import WebPage

REQUIRED = ("rich", "psutil", "cryptography")
EPILOG = """examples:
  disBatch -s localhost:4 Tasks                     run Tasks here, four at a time
  disBatch -s localhost:4 -r Tasks_1_status.txt Tasks    go on where an earlier run ended
  disBatch -s localhost:4 --dry-run Tasks           check everything, run nothing
"""


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """One line, not the whole usage: the line is what the user has to read."""
        self.exit(2, f"{self.prog}: error: {message} ({self.prog} --help lists the options)\n")


def _positive_fraction(text: str) -> "Fraction":
    from fractions import Fraction  # 3 ms, for those who give -c

    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise argparse.ArgumentTypeError(f"{text!r} is no number") from None
    if not 0 < value <= 1_000_000 or value < Fraction(1, 1000):
        raise argparse.ArgumentTypeError(f"{text!r}: a number of cores from 0.001 is needed")
    return value


def _count(at_least: int) -> Callable[[str], int]:
    def convert(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number") from None
        if value < at_least:
            raise argparse.ArgumentTypeError(f"{text!r} is less than {at_least}")
        return value

    return convert


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not 0 <= value <= 1e9:
        raise argparse.ArgumentTypeError(f"{text!r}: seconds from 0 are needed")
    return value


def _lease(text: str) -> float:
    value = _seconds(text)
    if not 2 <= value <= 1e7:  # below, a moment of load on a node would end a lease
        raise argparse.ArgumentTypeError(f"{text!r} is not between 2 and 10000000 seconds")
    return value


def build_parser() -> argparse.ArgumentParser:
    """The parser of `disBatch`; options and groups as the manual's usage has them, and what we add.

    Long, as it is a table: an option a row, in the order in which --help shows them.
    """
    parser = Parser(
        prog="disBatch",
        description="Run a long list of shell commands, one a line, on whatever machines there are.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add(
        "-e",
        "--exit-code",
        action="store_true",
        help="exit with 1 when a task failed (default: only -f and CHECK do)",
    )
    add(
        "-f",
        "--fail-fast",
        action="store_true",
        help="at the first failed task stop what runs and start nothing more",
    )
    add(
        "--force-resume",
        action="store_true",
        help="with -r: go by task ids alone, even where commands differ",
    )
    add("--kvsserver", nargs="?", const="", metavar="HOST:PORT", help="use a KVS server that runs already")
    add(
        "--insecure-kvs",
        nargs="?",
        const="",
        metavar="[HOST:]PORT",
        help="open the KVS of this run, without any protection, to old clients too (default: on loopback, a free port)",
    )
    add(
        "--lease",
        type=_lease,
        metavar="SECONDS",
        help="a silent engine's tasks are run by others after so long; it kills them before that (default: 300, at least 2)",
    )
    add(
        "--on-lost",
        choices=("rerun", "fail"),
        default="rerun",
        help="what becomes of tasks whose engine was lost: run again, or recorded with exit code -100 (default: rerun)",
    )
    add(
        "--lost-limit",
        type=_count(1),
        metavar="N",
        help="a task that has lost N engines is recorded with exit code -100 (default: 3)",
    )
    add("--logfile", metavar="FILE", help="log of the driver (default: PREFIX_driver.txt)")
    levels = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG")
    add("--loglevel", choices=levels, default="INFO", help="how much goes into the logs (default: INFO)")
    add(
        "--mailFreq",
        dest="mailfreq",
        type=_count(0),
        metavar="N",
        help="with --mailTo: a mail every N finished tasks, 0 for one at the end alone (default: 1)",
    )
    add("--mailTo", dest="mailto", metavar="ADDR", help="send mail about finished tasks to this address")
    add(
        "--on-event",
        metavar="COMMAND",
        help="run this command, with JSON on its standard input, at the end of the run, the first failure, each barrier and"
        " each lost engine",
    )
    add(
        "-p",
        "--prefix",
        metavar="PATH",
        help='where log, script and status files go (default: "."); a path that is no folder is how their names begin'
        " (default: TASKFILE_JOBID)",
    )
    add(
        "-r",
        "--resume-from",
        action="append",
        metavar="STATUSFILE",
        help="skip the tasks that this status file of an earlier run has as finished (may be repeated)",
    )
    add(
        "-R", "--retry", action="store_true", help="with -r: run tasks that failed (non-zero exit code) again"
    )
    add(
        "-S",
        "--startup-only",
        action="store_true",
        help="start without execution resources and wait for some to join",
    )
    add(
        "--grace",
        type=_seconds,
        metavar="SECONDS",
        help="time between TERM and KILL for tasks that are stopped (default: 5; Slurm's KillWait is a bound)",
    )
    add("--status-header", action="store_true", help="begin the status file with a line of column names")
    add("--no-usage", action="store_true", help="write no file with the CPU time and memory of each task")
    add("--use-address", metavar="HOST:PORT", help="address at which engines find this run")
    add("-w", "--web", action="store_true", help="show the run on a web page; its address is printed")
    add(
        "--web-address",
        metavar="[HOST:]PORT",
        help="with -w: where the page is served (default: on loopback, a free port)",
    )
    add(
        "--web-control",
        action="store_true",
        help="with -w: the page may stop engines, contexts and the run (default: it only shows)",
    )
    add("--taskcommand", metavar="COMMAND", help="tasks come from this command, by way of the KVS server")
    add("--taskserver", nargs="?", const="", metavar="HOST:PORT", help="tasks come from the KVS server")
    add("--dry-run", action="store_true", help="check everything, show what would be run, run nothing")
    add("--quiet", action="store_true", help="print errors and warnings only")
    add("--version", action="version", version=f"disBatch {__version__}")
    add("taskfile", nargs="?", help='file with tasks, one a line ("-" for standard input)')
    add_context_arguments(parser)
    return parser


def add_context_arguments(parser: argparse.ArgumentParser) -> None:
    """The options that say which machines are used, and how; for the driver's own context and for those that join."""
    context = parser.add_argument_group("context specific arguments").add_argument
    context(
        "-C",
        "--context-task-limit",
        type=_count(0),
        metavar="TASK_LIMIT",
        help="end the context after so many tasks",
    )
    context(
        "-c",
        "--cpusPerTask",
        dest="cpus_per_task",
        type=_positive_fraction,
        metavar="N",
        help="cores for each task, may be a fraction (default: 1; in a Slurm job what its -c says)",
    )
    context(
        "--drain-before",
        type=_seconds,
        metavar="SECONDS",
        help="in a Slurm job: start no task in the last SECONDS before the end of the job",
    )
    context("--fill", action="store_true", help="use cores that were allocated beyond those asked for")
    context("-g", "--gpu", action="store_true", help="divide the assigned GPUs among the tasks")
    context("--no-bind", action="store_true", help="let tasks run on any core of their node")
    context(
        "--no-retire", action="store_true", help="give no node back to the batch system; the same as -k ''"
    )
    context(
        "-k",
        "--retire-cmd",
        metavar="COMMAND",
        help="command that gives a node back (default: the batch system's)",
    )
    context("-l", "--label", metavar="LABEL", help="name of this context")
    context(
        "-s",
        "--ssh-node",
        action="append",
        metavar="HOST:COUNT",
        help="run on so many cores of this host (may be repeated, or a list with commas; or DISBATCH_SSH_NODELIST)",
    )
    context(
        "-t",
        "--tasksPerNode",
        dest="tasks_per_node",
        type=_count(1),
        metavar="N",
        help="tasks at a time on each node (at most cores/cpusPerTask)",
    )


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
