"""What an engine is told when it is started, and what its tasks find in their environment because of it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from disbatch.core.binding import BindRule
from disbatch.core.engine_events import Job
from disbatch.core.phases import EngineConfig
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.sweep import VARIABLE, nested, session_id

LIFELINE_MARK = b"\0"  # behind the certificate, which is text


@dataclass(frozen=True, slots=True)
class EngineStart:
    """All that an engine is told when it is started. `token` never leaves memory.

    `lifeline_fd` is the reading end of a pipe whose end of file says that whoever launched it is gone: driver or context.
    `driver_pid` is the driver's where that is on this machine and has launched this engine itself, else 0.
    When `certificate` is None, the pipe brings it, in PEM, once it is made (empty: there is none).
    """

    config: EngineConfig
    facts: RunFacts
    addresses: tuple[tuple[str, int], ...]
    token: bytes | None
    certificate: bytes | None
    lifeline_fd: int
    log: str
    cores_per_task: int
    environ: Mapping[str, str]  # what tasks get beside the engine's own environment
    environ_drops: tuple[str, ...]  # beginnings of the names that they do not get
    bind: BindRule
    gpus: bool  # whether those of the node are divided among the slots
    driver_pid: int = 0
    task_file: tuple[str, str] = ("", "")  # a variable of tasks that leads to a file, and its text

    @property
    def session(self) -> str:
        """What this engine and all that it starts are found by (no secret)."""
        return session_id(self.facts.did, self.config.sid)


class TaskEnvironment:
    """The environment of tasks: the engine's own and what tells a task who it is (formats: Environment)."""

    def __init__(
        self, base: Mapping[bytes, bytes], start: EngineStart, slots: tuple[Mapping[bytes, bytes], ...]
    ) -> None:
        drops = tuple(map(os.fsencode, start.environ_drops))
        self._env = {name: value for name, value in base.items() if not (drops and name.startswith(drops))}
        self._env |= {os.fsencode(name): os.fsencode(value) for name, value in start.environ.items()}
        name, text = start.task_file
        if name:
            # without a name in any folder: it goes with the engine, which tasks do not outlive
            descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
            os.write(descriptor, os.fsencode(text))
            self._env[os.fsencode(name)] = b"/proc/%d/fd/%d" % (os.getpid(), descriptor)
        outer = self._env.get(VARIABLE.encode(), b"")
        self._env[VARIABLE.encode()] = os.fsencode(nested(start.session, os.fsdecode(outer)))
        self._env[b"DISBATCH_JOBID"] = os.fsencode(start.facts.tasks_job_id)
        self._env[b"DISBATCH_NAMETASKS"] = os.fsencode(start.facts.task_name)
        self._env[b"DISBATCH_ENGINE_RANK"] = b"%d" % start.config.rank
        self._env[b"DISBATCH_CORES_PER_TASK"] = b"%d" % start.cores_per_task
        # by slot; those of NO_SLOT, -1, are the engine's own
        self._slots = slots and (*slots, {name: self._env[name] for name in slots[0]})

    def of(self, slot: int, job: Job) -> Mapping[bytes, bytes]:
        """For one command; the mapping is valid until the next call."""
        env = self._env
        env[b"DISBATCH_TASKID"] = b"%d" % job.task_id
        env[b"DISBATCH_TASKID_ZP"] = b"%06d" % job.task_id
        env[b"DISBATCH_STREAM_INDEX"] = b"%d" % job.line_no
        env[b"DISBATCH_STREAM_INDEX_ZP"] = b"%06d" % job.line_no
        env[b"DISBATCH_REPEAT_INDEX"] = b"%d" % job.repeat_index
        env[b"DISBATCH_REPEAT_INDEX_ZP"] = b"%06d" % job.repeat_index
        env[b"DISBATCH_CYLINDER_RANK"] = b"%d" % slot
        if self._slots:
            env |= self._slots[slot]
        return env
