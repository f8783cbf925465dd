"""From settings to a running driver: what can be refused is refused first, then come files, engines, the loop.

The order is what makes a start quick and safe: nothing is created before the task list and the status files were
found good; engines are forked before any thread or event loop exists.
"""

import contextlib
import gc
import logging
import os
import socket
from dataclasses import dataclass

from disbatch.contexts.retirement import driver_node
from disbatch.contexts.slurm import restarts
from disbatch.core.driver import DriverConfig, DriverCore
from disbatch.core.driver_events import ContextOpened, Ending
from disbatch.core.errors import DisBatchError, MachineError
from disbatch.core.failures import FailureGroup
from disbatch.core.model import NodeSpec
from disbatch.core.phases import EngineConfig
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.status import HEADER
from disbatch.core.takeover import Inheritance
from disbatch.runtime.certificate import CertificateMaker
from disbatch.runtime.claim import claim
from disbatch.runtime.crashed import last_words, settle_crashed
from disbatch.runtime.dbutil import how_to_join, write_script
from disbatch.runtime.display import EarlyMessages, View
from disbatch.runtime.driver import DriverShell
from disbatch.runtime.enginestart import LIFELINE_MARK, EngineStart
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.files import STATUS, RunFiles, engine_log, make_job_id
from disbatch.runtime.folder import as_seen, working_folder
from disbatch.runtime.hosting import launch_orders, node_name
from disbatch.runtime.launches import Launched, LaunchOrder
from disbatch.runtime.local import fork_engine
from disbatch.runtime.logs import open_log
from disbatch.runtime.mailsettings import PASSWORD_VARIABLE
from disbatch.runtime.observers import Attached, Observer, Observers
from disbatch.runtime.prepare import open_resume, open_source
from disbatch.runtime.reattach import find_predecessor, list_line
from disbatch.runtime.requeue import first_words
from disbatch.runtime.rescue import Rescue
from disbatch.runtime.resume import ResumeFiles
from disbatch.runtime.retire import Retirement
from disbatch.runtime.roster import entry_lines
from disbatch.runtime.serverend import Lifeline
from disbatch.runtime.servers import OtherServer, OwnServer, ServerPlace
from disbatch.runtime.settings import FeedSettings, RunSettings
from disbatch.runtime.sources import FileSource, KvsSource, StreamSource
from disbatch.runtime.sweep import RUN_BYTES
from disbatch.runtime.unexpected import in_words, watch_destructors
from kvsstcp.errors import KvsError


@dataclass(frozen=True, slots=True)
class RunResult:
    """How a run ended, for the words at its end."""

    ending: Ending
    exit_code: int
    snapshot: RunSnapshot
    failures: list[FailureGroup]
    left: bool  # tasks without a final line
    earlier: tuple[str, ...]  # status files that are still needed beside this run's own, to resume from
    failed: int  # tasks with a non-zero exit code, those of earlier runs that were skipped included
    files: RunFiles
    log: logging.Logger


@dataclass(frozen=True, slots=True)
class _Stage:
    """What has been found good, or created, for a run that now begins."""

    settings: RunSettings
    server: ServerPlace
    source: FileSource | StreamSource | KvsSource
    resume: ResumeFiles | None
    files: RunFiles
    status_fd: int
    facts: RunFacts
    page: Attached | None
    inheritance: Inheritance | None  # of the driver before this one, whose place it takes
    list_line: str  # for the info file
    said: EarlyMessages


def run(
    settings: RunSettings, view: View, maker: CertificateMaker, page: Attached | None = None
) -> RunResult:
    """Runs the task list to its end. `maker` and `page` stay the caller's. Raises DisBatchError when it cannot begin."""
    os.environ.pop(PASSWORD_VARIABLE, None)  # the settings have it; it is no business of engines and tasks
    said = EarlyMessages(view)
    server: ServerPlace = (
        OtherServer(settings.kvsserver) if settings.kvsserver else OwnServer(settings, maker)
    )
    source = open_source(settings)
    line = list_line(settings, source)
    before = find_predecessor(settings, line)
    settle_crashed(settings.resume_from, settings.context, said.warn)
    own = before.status if before else None
    resume = open_resume(settings, source, said.note, own)
    for warning in (*settings.allocation.warnings, *settings.warnings, server.warning):
        if warning:
            said.warn(warning)
    if before:
        files, status_fd = before.claim(settings.logfile)
        said.warn(before.words(settings.losses.lease_s))
    else:
        files, status_fd = _claim_files(settings, resume, said)
    if settings.status_header and not before:
        os.write(status_fd, HEADER + b"\n")
    facts = _facts(settings, files, before.crashed.did if before else os.urandom(RUN_BYTES).hex())
    if not before:
        write_script(facts)
    inheritance = before.inheritance(resume) if before and resume else None
    stage = _Stage(settings, server, source, resume, files, status_fd, facts, page, inheritance, line, said)
    try:
        return _run_staged(stage, view)
    except KvsError as error:
        raise MachineError(f"the KVS of the run does not work: {error}") from error
    except DisBatchError:
        raise
    except Exception as error:
        words = f"this run cannot go on: {in_words(error)}; -r {files.status} resumes it"
        raise MachineError(words) from error


def _claim_files(
    settings: RunSettings, resume: ResumeFiles | None, said: EarlyMessages
) -> tuple[RunFiles, int]:
    """Take the names of a new run, and say what that has led to."""
    job_id = settings.job_id or make_job_id()
    requeued = restarts(os.environ) > 0
    claimed = claim(settings.prefix, settings.task_name, job_id, settings.logfile, requeued=requeued)
    files, _ = claimed
    if settings.reattach:
        said.note(f"--reattach: nothing to go on with, {as_seen(files.prefix)} is a new run")
    if files.aside:
        said.note(f"the files of the earlier run {files.prefix} are {files.aside}_… now")
        if resume:
            resume.follow(files.aside + STATUS)
    if files.suffix:
        taken = files.prefix.removesuffix(files.suffix)
        said.note(f"{taken} is taken by an earlier run, this one is {files.prefix}")
    return claimed


def _facts(settings: RunSettings, files: RunFiles, did: str) -> RunFacts:
    """`did` is the same for all drivers of one run: engines, and what they started, are found by it."""
    return RunFacts(
        did=did,
        job_id=files.job_id,
        tasks_job_id=files.tasks_job_id,
        task_name=settings.task_name,
        prefix=as_seen(files.prefix),
        folder=working_folder(),
        grace_s=settings.grace_s,
        loglevel=settings.loglevel,
        lease_s=settings.losses.lease_s,
        reattach=settings.reattach,
    )


def _run_staged(stage: _Stage, view: View) -> RunResult:
    import asyncio  # here, before the fork: both sides need it, and share its memory

    settings, files, resume = stage.settings, stage.files, stage.resume
    engines, lifeline = _start_engines(stage)
    log = _begin_log(stage)
    heirs = stage.inheritance
    joined = entry_lines(heirs.first_rank, heirs.contexts) if heirs else ()
    words = last_words(stage.facts, settings.context, (stage.list_line, *joined))
    kvs, pem = stage.server.open(files, log, words)
    try:
        os.write(lifeline.fd, pem + LIFELINE_MARK)
    except OSError:
        # there may be no engine on this host, others read the info file; one that is here ends with the pipe
        lifeline.close()
    core = DriverCore(_driver_config(stage), resume.judge if resume else None)
    feed = None
    if isinstance(stage.source, KvsSource):
        feed = FeedSettings(settings.taskcommand, stage.server.environ(files))
    observers = _observers(settings, stage.page)
    nodes = dict(enumerate(settings.context.allocation.nodes))
    rescue = Rescue(stage.facts, settings.context, nodes, kvs, log)
    shell = DriverShell(
        core,
        stage.source,
        resume,
        kvs,
        log,
        view,
        files,
        stage.facts,
        observers,
        _retirement(stage, log, view),
        rescue,
        settings.drain_before_s,
        settings.fsync,
    )
    try:
        own = None
        if settings.startup_only:
            how = how_to_join(stage.facts)
            log.info(how)
            view.say(how, "note")
        else:
            own = ContextOpened(settings.context.label, settings.context.task_limit)
        with asyncio.Runner() as runner:
            runner.get_loop()
            ending = runner.run(shell.run(stage.status_fd, own, engines, _orders(stage), feed, lifeline))
    finally:
        lifeline.close()
        if resume:
            resume.close()
        if not core.abandoned:  # whoever resumes has to know of an engine that did not end
            _remove(files.kvsinfo, files.limits)
    seconds = sum(os.times()[:2])
    log.info("run %s ends: %s; processor time of the driver: %.2f s", files.job_id, ending.text, seconds)
    return RunResult(
        ending,
        core.exit_code(ending),
        shell.snapshot(),
        core.failures.largest(),
        core.left,
        resume.earlier if resume and not core.read_whole else (),
        core.failed,
        files,
        log,
    )


def _remove(*paths: str) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            os.unlink(path)


def _begin_log(stage: _Stage) -> logging.Logger:
    settings, files = stage.settings, stage.files
    try:
        log = open_log(files.log, settings.loglevel, "driver", named=settings.logfile is not None)
    except OSError as error:
        raise MachineError(f"cannot write the log {files.log}: {error.strerror}") from None
    watch_destructors(log)
    log.info(first_words(files.job_id, settings.task_name, files.status))
    stage.said.write_to(log)
    return log


def _driver_config(stage: _Stage) -> DriverConfig:
    settings = stage.settings
    return DriverConfig(
        stage.facts.did,
        socket.gethostname(),
        os.getpid(),
        settings.fail_fast,
        settings.exit_code,
        settings.startup_only,
        usage=settings.usage,
        charges=settings.reattach,
        losses=settings.losses,
        inheritance=stage.inheritance,
        quarantine=settings.quarantine,
    )


def _retirement(stage: _Stage, log: logging.Logger, view: View) -> Retirement:
    context = stage.settings.context

    def warn(text: str) -> None:
        log.warning(text)
        view.say(text, "warning")

    nodes = [node_name(context, node) for node in context.allocation.nodes]
    here = driver_node(os.environ, socket.gethostname(), nodes)
    return Retirement(context.retire_command, nodes, here, warn, os.environ, log.info)


def _observers(settings: RunSettings, page: Attached | None) -> Observers:
    """Those who watch this run. Imported where they are wanted: a run without them pays nothing."""
    found: list[Observer] = [page] if page else []
    if settings.mail:
        from disbatch.runtime.mail import Mailer

        found.append(Mailer(settings.mail, settings.task_name))
    if settings.on_event:
        from disbatch.runtime.hooks import Hooks

        found.append(Hooks(settings.on_event, settings.task_name))
    return Observers(found)


def _start_engines(stage: _Stage) -> tuple[list[Launched], Lifeline]:
    """Forks the engines of this host. The lifeline wants the certificate; its closing says that the driver is gone."""
    # Before the fork: the engine shares this memory as long as no collection writes to it. What comes later is freed
    # by counting references, so that collections may be rare.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    page_fds = stage.page.descriptors() if stage.page else ()
    close_fds = (*stage.server.descriptors(), *page_fds, stage.status_fd, write_end)
    engines = [
        _start_engine(rank, node, stage, read_end, close_fds)
        for rank, node in enumerate(stage.settings.allocation.nodes)
        if stage.settings.context.scheduler.is_local(node.name)
    ]
    os.close(read_end)
    return engines, Lifeline(write_end)


def _start_engine(
    rank: int, node: NodeSpec, stage: _Stage, lifeline_fd: int, close_fds: tuple[int, ...]
) -> Launched:
    name = socket.gethostname()
    label = stage.settings.context.label
    start = EngineStart(
        config=EngineConfig(
            os.urandom(8).hex(), rank, name, node.slots, stage.facts.grace_s, lease_s=stage.facts.lease_s
        ),
        facts=stage.facts,
        addresses=stage.server.near,
        token=stage.server.token,
        certificate=None,
        lifeline_fd=lifeline_fd,
        log=engine_log(stage.facts.prefix, name, label),
        cores_per_task=node.cores_per_task,
        environ={},
        environ_drops=(),
        bind=node.bind,
        gpus=node.gpus is not None,
        driver_pid=os.getpid(),
    )
    return Launched(rank, name, node.slots, label, fork_engine(start, close_fds))


def _orders(stage: _Stage) -> list[LaunchOrder]:
    """How the engines of other hosts are started, once the KVS serves."""
    context = stage.settings.context
    others = [
        (rank, node)
        for rank, node in enumerate(context.allocation.nodes)
        if not context.scheduler.is_local(node.name)
    ]
    return launch_orders(stage.facts, context, context.label, others, by_driver=True)
