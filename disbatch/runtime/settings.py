"""The settings of a run: from parsed options and the environment to frozen values, once.

Every default lives here, with its reason. Combinations that make no sense are refused here.
"""

import argparse
import os
from collections.abc import Mapping
from dataclasses import dataclass

from disbatch.contexts import slurm
from disbatch.contexts.base import Allocation
from disbatch.contexts.jobend import KILL_WAIT_QUESTION, bounded_grace, check_drain, kill_wait_s
from disbatch.core.errors import UsageError
from disbatch.core.losses import LossPolicy
from disbatch.runtime.contextsettings import ContextSettings, ask, context_settings, no_context
from disbatch.runtime.mailsettings import MailSettings, mail_settings
from kvsstcp.errors import KvsError
from kvsstcp.infofile import Info, info_from_argument, info_from_environment

GRACE_S = (
    5.0  # between TERM and KILL: enough to flush a file, short enough for somebody who waits at a terminal
)
LEASE_S = 300.0  # longer than most outages of a network, shorter than the patience of somebody who watches a silent node
LOST_LIMIT = 3  # a task that has taken three engines with it is not given a fourth
KILL_WAIT_CALL_S = (
    5.0  # for Slurm to say how long it waits before KILL: nice to know, and no reason to start late
)
DRAIN_LOOK_S = 30.0  # the end of a job can be moved; asking is one message to the controller
RETIRE_GATHER_S = (
    0.5  # engines that end together are given back together; and a run's last second gives back nothing
)
RETIRE_CALL_S = 60.0  # a scheduler that is busy answers late
RETIRE_WAITS_S = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)  # after failures: some Slurm refuses for over a minute
RETIRE_END_S = 0.5  # for a call that runs when the run is over: giving back never delays an end
STATUS_KEY_S = 1.0  # how often the snapshot for outside monitors is published
VITALS_S = 4.0  # how often, at most, an engine says how its node is: often enough for a look at it, and never seen in cost
FSYNC_S = 1.0  # what a power cut may cost at most
WRITE_RETRY_S = 1.0  # a full disk is tried again this often
OBSERVERS_END_S = (
    5.0  # for the last mail and the like: what somebody who waits for the prompt still puts up with
)
LOOPBACK = "127.0.0.1"  # where a listener is that nobody has asked to be elsewhere
LINE_LIMIT = 16 << 20  # bytes of one line of a task list; more is no command, but a wrong file


@dataclass(frozen=True, slots=True)
class FeedSettings:
    """Tasks come from a program, by way of the KVS."""

    command: str | None  # to be started by us; None: it finds the server by itself
    environ: Mapping[str, str]  # what tells the command where the KVS is


@dataclass(frozen=True, slots=True)
class WebSettings:
    """A web page shows the run."""

    address: tuple[str, int]  # where it listens; port 0: a free one
    control: bool  # whether it may stop engines, contexts and the run


@dataclass(frozen=True, slots=True)
class RunSettings:
    taskfile: str | None  # path, or "-" for standard input; None: a program feeds tasks
    taskcommand: str | None
    kvsserver: Info | None  # a server that runs already
    insecure_kvs: tuple[str, int] | None  # where to open plain service beside the secure one
    task_name: str  # base name of the task file, DISBATCH_NAMETASKS
    context: ContextSettings  # the first one, in the driver
    prefix: str | None  # -p, as given
    job_id: str | None  # from the environment; None: one is made
    resume_from: tuple[str, ...]
    retry: bool
    force_resume: bool
    exit_code: bool  # -e
    fail_fast: bool
    losses: LossPolicy
    quarantine: int  # --quarantine; 0: none
    status_header: bool
    usage: bool  # whether a usage file is written
    fsync: str  # when the status file is synced: none, interval (FSYNC_S), always
    logfile: str | None
    loglevel: str
    use_address: tuple[str, int] | None
    web: WebSettings | None
    quiet: bool
    dry_run: bool
    mail: MailSettings | None
    on_event: str | None  # command that is told what happens
    startup_only: bool  # start without machines and wait for some
    reattach: bool  # another driver may follow this one, or this one follows another
    grace_s: float  # --grace, or what it is bounded to
    drain_before_s: float | None  # --drain-before
    warnings: tuple[str, ...]  # about these settings, beside those about the machines

    @property
    def allocation(self) -> Allocation:
        return self.context.allocation


def settings_from(options: argparse.Namespace, environ: Mapping[str, str]) -> RunSettings:
    """Checks the options against each other and the environment. Raises UsageError, one line, for the user."""
    _refuse_combinations(options)
    fed = options.taskserver is not None or options.taskcommand is not None
    if options.taskfile is None and not fed:
        taken = _swallowed(options)
        raise UsageError(
            f"no task file was given (a file with one command a line, or - for standard input){taken}"
        )
    if options.taskfile and os.path.isdir(options.taskfile):
        raise UsageError(f"{options.taskfile} is a folder, not a task file")
    check_drain(options.drain_before, environ)
    grace_s, grace_warning = _grace(options.grace, environ)
    names = {None: "STREAM", "-": "STDIN"}
    name = names.get(options.taskfile) or os.path.basename(options.taskfile)
    return RunSettings(
        taskfile=options.taskfile,
        taskcommand=options.taskcommand,
        kvsserver=_kvsserver(options, environ),
        insecure_kvs=_listen_address(options.insecure_kvs, "--insecure-kvs"),
        task_name=name,
        context=no_context(options) if options.startup_only else context_settings(options, environ),
        prefix=options.prefix,
        job_id=_job_id(environ),
        resume_from=tuple(options.resume_from or ()),
        retry=options.retry,
        force_resume=options.force_resume,
        exit_code=options.exit_code,
        fail_fast=options.fail_fast,
        losses=LossPolicy(options.lease or LEASE_S, options.on_lost, options.lost_limit or LOST_LIMIT),
        quarantine=options.quarantine or 0,
        status_header=options.status_header,
        usage=not options.no_usage,
        fsync=options.fsync,
        logfile=options.logfile,
        loglevel=options.loglevel,
        use_address=_address(options.use_address, "--use-address")
        if options.use_address is not None
        else None,
        web=_web(options),
        quiet=options.quiet,
        dry_run=options.dry_run,
        mail=mail_settings(options, environ),
        on_event=options.on_event,
        startup_only=options.startup_only,
        reattach=options.reattach,
        grace_s=grace_s,
        drain_before_s=options.drain_before,
        warnings=tuple(filter(None, (grace_warning, _root_warning(environ)))),
    )


def _swallowed(options: argparse.Namespace) -> str:
    """A hint where an option that may stand without a value has taken the task file for it."""
    for option, value in (("--kvsserver", options.kvsserver), ("--insecure-kvs", options.insecure_kvs)):
        if value and os.path.exists(value):
            return f"; {option} has taken {value} for its address: put the task file first, as in disBatch {value} {option}"
    return ""


def _root_warning(environ: Mapping[str, str]) -> str:
    """DISBATCH_ROOT is for hosts that have disBatch elsewhere; mostly this machine has it there too."""
    root = environ.get("DISBATCH_ROOT", "")
    if not root or os.path.isfile(os.path.join(root, "disbatch", "programs.py")):
        return ""
    return f"DISBATCH_ROOT is {root}, where this machine has no disBatch (no {root}/disbatch/programs.py): engines elsewhere look for it there"


def _job_id(environ: Mapping[str, str]) -> str | None:
    """The id that the environment gives to the run. It becomes a part of file names."""
    own = environ.get("DISBATCH_SSH_JOBID")
    if own and "/" in own:
        raise UsageError(
            f"DISBATCH_SSH_JOBID is {own!r}: an id without a slash is needed, for names of files"
        )
    return environ.get("SLURM_JOB_ID") or own


def _grace(given_s: float | None, environ: Mapping[str, str]) -> tuple[float, str]:
    """Seconds between TERM and KILL, and a warning where Slurm leaves fewer than were asked for."""
    wished_s = GRACE_S if given_s is None else given_s
    if not slurm.in_job(environ):
        return wished_s, ""
    said = ask(KILL_WAIT_QUESTION, KILL_WAIT_CALL_S)
    return bounded_grace(wished_s, kill_wait_s(said or ""), given=given_s is not None)


def _refuse_combinations(o: argparse.Namespace) -> None:
    retires = o.retire_cmd is not None and o.retire_cmd.strip() != ""
    feeds = o.taskserver is not None or o.taskcommand is not None
    wrong = [
        (o.startup_only and o.ssh_node, "-S starts without execution resources: it cannot go with -s"),
        (
            o.reattach and not o.startup_only,
            "--reattach takes over machines that others have added to a run: it needs -S",
        ),
        (
            o.reattach and o.prefix is None,
            "--reattach finds the run by the names of its files: it needs -p",
        ),
        (
            o.reattach and (feeds or o.taskfile in (None, "-") or o.kvsserver is not None),
            "--reattach reads the list once more: it needs a task file, and a KVS of its own",
        ),
        (
            o.retry and not o.resume_from,
            "-R says what to do with failed tasks of an earlier run: it needs -r",
        ),
        (o.force_resume and not o.resume_from, "--force-resume says how to read a status file: it needs -r"),
        (o.on_event is not None and not o.on_event.strip(), "--on-event needs a command"),
        (o.taskcommand is not None and not o.taskcommand.strip(), "--taskcommand needs a command"),
        (o.prefix == "", "-p needs a path: a folder, or how the names of the files are to begin"),
        (o.web_address is not None and not o.web, "--web-address says where the web page is: it needs -w"),
        (o.web_control and not o.web, "--web-control lets the web page stop things: it needs -w"),
        (o.mailfreq is not None and o.mailto is None, "--mailFreq needs --mailTo"),
        (retires and o.ssh_node, "--retire-cmd gives nodes back to a batch system: it cannot go with -s"),
        (
            o.kvsserver and o.taskserver and o.kvsserver != o.taskserver,
            "--kvsserver and --taskserver name different servers",
        ),
        (
            o.taskserver is not None and o.taskcommand is not None,
            "--taskserver and --taskcommand exclude each other",
        ),
        (
            o.taskfile is not None and feeds,
            "a task file cannot go with --taskserver or --taskcommand",
        ),
        (o.dry_run and feeds, "--dry-run needs a task file: what a program will send is not known"),
        (
            o.insecure_kvs is not None and (o.kvsserver is not None or o.taskserver is not None),
            "--insecure-kvs is about the server of this run: it cannot go with --kvsserver or --taskserver",
        ),
    ]
    for is_wrong, why in wrong:
        if is_wrong:
            raise UsageError(why)


def _kvsserver(options: argparse.Namespace, environ: Mapping[str, str]) -> Info | None:
    """The server that --kvsserver or --taskserver names: HOST:PORT, an info file, or what the environment says."""
    named = (("--kvsserver", options.kvsserver), ("--taskserver", options.taskserver))
    # There is one server: where both are given, the one with an address says which.
    for option, value in sorted(named, key=lambda each: not each[1]):
        if value is None:
            continue
        try:
            info = info_from_argument(value) if value else info_from_environment(environ)
        except KvsError as error:
            raise UsageError(f"{option}: {error}") from None
        if info is None:
            raise UsageError(
                f"{option} needs HOST:PORT or the path of an info file, here or in KVSSTCP_INFO, "
                "or KVSSTCP_HOST and KVSSTCP_PORT"
            )
        return info
    return None


def _web(options: argparse.Namespace) -> WebSettings | None:
    if not options.web:
        return None
    # loopback: what is shown and asked for goes over the network in the clear
    address = _listen_address(options.web_address, "--web-address") or (LOOPBACK, 0)
    return WebSettings(address, options.web_control)


def _listen_address(text: str | None, option: str) -> tuple[str, int] | None:
    """[HOST:]PORT, or HOST; loopback and a free port where nothing is said."""
    if text is None:
        return None
    host, colon, port = text.rpartition(":")
    if not colon:
        host, port = ("", text) if text.isdigit() else (text, "")
    if port and not (port.isascii() and port.isdigit() and int(port[:6]) < 65536):
        raise UsageError(f"{option} {text!r}: [HOST:]PORT is needed, the port below 65536")
    return host.strip("[]") or LOOPBACK, int(port or 0)


def service_address(text: str) -> tuple[str, int]:
    """Where the KVS is to listen, as --use-address has it. Raises UsageError."""
    return _address(text, "--use-address")


def _address(text: str, option: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isascii() or not port.isdigit() or not int(port[:6]) < 65536:
        raise UsageError(
            f"{option} {text!r}: both parts of HOST:PORT are needed, the port below 65536 (0: a free one)"
        )
    return host, int(port)
