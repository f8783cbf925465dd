"""From settings to a running driver: everything that can be refused is refused first, then files, engines, the loop.

The order is what makes a start quick and safe: nothing is created before the task list and the status files were
found good; engines are forked before any thread or event loop exists.
"""

import contextlib
import gc
import os
import secrets
import socket
from collections.abc import Callable
from dataclasses import dataclass

from disbatch.contexts.ssh import LOCALHOST
from disbatch.core.driver import DriverConfig, DriverCore
from disbatch.core.driver_events import Ending
from disbatch.core.engine import EngineConfig
from disbatch.core.errors import UsageError
from disbatch.core.failures import FailureGroup
from disbatch.core.model import NodeSpec, Task
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.status import HEADER
from disbatch.runtime.driver import DriverShell, Launched, View
from disbatch.runtime.engine import EngineStart
from disbatch.runtime.files import RunFiles, claim, make_job_id
from disbatch.runtime.local import fork_engine
from disbatch.runtime.logs import open_log
from disbatch.runtime.resume import ResumeFiles
from disbatch.runtime.settings import GRACE_S, RunSettings
from disbatch.runtime.sources import FileSource, StreamSource, is_regular, open_task_list
from kvsstcp.infofile import Info, write_info

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, for the words at its end."""

    ending: Ending
    exit_code: int
    snapshot: RunSnapshot
    failures: list[FailureGroup]
    left: bool  # tasks without a final line
    failed: int  # tasks with a non-zero exit code, those of earlier runs that were skipped included
    files: RunFiles


def open_source(settings: RunSettings) -> FileSource | StreamSource:
    """The task list, checked as far as it can be before anything runs. Raises UsageError or TaskFileError."""
    file = open_task_list(settings.taskfile)
    name = "standard input" if settings.taskfile == "-" else settings.taskfile
    if not is_regular(file):
        return StreamSource(file, name)
    source = FileSource(file, name)
    source.check()
    return source


def open_resume(
    settings: RunSettings, source: FileSource | StreamSource, note: Callable[[str], None]
) -> ResumeFiles | None:
    """The status files of earlier runs, compared with the task list where that can be read twice.

    Raises StatusFileError for a file that is none, or that belongs to another list.
    """
    if not settings.resume_from:
        return None
    resume = ResumeFiles(settings.resume_from, retry_failed=settings.retry, by_id_only=settings.force_resume)
    for text in resume.notes:
        note(text)
    if isinstance(source, FileSource):
        last = -1
        for item in source.items():
            if isinstance(item, Task):
                resume.judge(item)
                last = item.task_id
            if last >= resume.last_task_id:
                break
        if resume.moved:
            note(
                f"{resume.moved} tasks stand on another line than in the status file; they are the same tasks"
            )
        if last < resume.last_task_id:
            note(
                f"the status file goes on to task {resume.last_task_id}, the task file ends with task {last}"
            )
    return resume


def run(settings: RunSettings, view: View) -> RunResult:
    """Runs the task list to its end. Raises DisBatchError when it cannot begin."""

    def note(text: str) -> None:
        view.say(text, "note")

    source = open_source(settings)
    resume = open_resume(settings, source, note)
    for warning in settings.allocation.warnings:
        view.say(warning, "warning")
    job_id = settings.job_id or make_job_id()
    sock = _listen(settings.use_address)
    files, status_fd = claim(settings.prefix, settings.task_name, job_id, settings.logfile)
    if files.suffix:
        note(
            f"{files.prefix.removesuffix(files.suffix)} is taken by an earlier run, this one is {files.prefix}"
        )
    if settings.status_header:
        os.write(status_fd, HEADER + b"\n")
    return _run_claimed(settings, view, files, status_fd, sock, source, resume)


def _run_claimed(
    settings: RunSettings,
    view: View,
    files: RunFiles,
    status_fd: int,
    sock: socket.socket,
    source: FileSource | StreamSource,
    resume: ResumeFiles | None,
) -> RunResult:
    token, did = secrets.token_bytes(32), secrets.token_hex(8)
    import asyncio  # here, before the fork: both sides need it, and share its memory

    gc.freeze()  # before the fork: the engine shares this memory as long as no collection writes to it
    engines = [
        _start_engine(rank, node, settings, files, sock, token, did, status_fd)
        for rank, node in enumerate(settings.allocation.nodes)
    ]
    write_info(files.kvsinfo, Info((sock.getsockname()[:2],), token, files.job_id))
    log = open_log(files.log, settings.loglevel, "driver")
    log.info("run %s of %s begins; status file %s", files.job_id, settings.taskfile, files.status)
    for text in (*(resume.notes if resume else ()), *settings.allocation.warnings):
        log.info(text)
    host = socket.gethostname()
    core = DriverCore(
        DriverConfig(did, host, os.getpid(), settings.fail_fast),
        resume.judge if resume else None,
    )
    shell = DriverShell(core, source, resume, log, view, files.status)
    ending = asyncio.run(shell.run(sock, token, status_fd, engines))
    if resume:
        resume.close()
    with contextlib.suppress(OSError):
        os.unlink(files.kvsinfo)
    used = os.times()
    log.info(
        "run %s ends: %s; processor time of the driver: %.2f s",
        files.job_id,
        ending.text,
        used.user + used.system,
    )
    exit_code = ending.exit_code
    failed = core.ledger.failed + core.ledger.skipped_failed
    if ending is Ending.COMPLETE and settings.exit_code and failed:
        exit_code = 1
    return RunResult(ending, exit_code, shell.snapshot(), core.failures.largest(), core.left, failed, files)


def _start_engine(
    rank: int,
    node: NodeSpec,
    settings: RunSettings,
    files: RunFiles,
    sock: socket.socket,
    token: bytes,
    did: str,
    status_fd: int,
) -> Launched:
    name = socket.gethostname() if node.name == LOCALHOST else node.name
    label = settings.allocation.label
    start = EngineStart(
        config=EngineConfig(secrets.token_hex(8), rank, name, node.slots, GRACE_S),
        did=did,
        addresses=(sock.getsockname()[:2],),
        token=token,
        log=files.engine_log(name, label),
        loglevel=settings.loglevel,
        job_id=files.job_id,
        task_name=settings.task_name,
        cores_per_task=node.cores_per_task,
    )
    pid = fork_engine(start, (sock.fileno(), status_fd))
    return Launched(rank, name, node.slots, label, pid)


def _listen(address: tuple[str, int] | None) -> socket.socket:
    """The socket of the KVS. Raises UsageError when the address of --use-address cannot be had."""
    host, port = address or (LOOPBACK, 0)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
    except OSError as error:
        raise UsageError(
            f"--use-address {host}:{port}: {error.strerror}; give an address of this machine"
        ) from None
    sock.setblocking(False)
    return sock
