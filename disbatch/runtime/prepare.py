"""What is looked at before a run begins, and may refuse it: task list, status files of earlier runs, address."""

import os
import socket
from collections.abc import Callable

from disbatch.core.errors import UsageError
from disbatch.core.model import Task
from disbatch.core.plural import counted, noun
from disbatch.runtime.requeue import files_to_resume
from disbatch.runtime.resume import ResumeFiles
from disbatch.runtime.settings import LOOPBACK, RunSettings
from disbatch.runtime.sources import FileSource, KvsSource, StreamSource, is_regular, open_task_list


def open_source(settings: RunSettings) -> FileSource | StreamSource | KvsSource:
    """The task list, checked as far as it can be before anything runs. Raises UsageError or TaskFileError."""
    if settings.taskfile is None:
        return KvsSource()
    file = open_task_list(settings.taskfile)
    name = "standard input" if settings.taskfile == "-" else settings.taskfile
    if not is_regular(file):
        return StreamSource(file, name)
    source = FileSource(file, name)
    source.check()
    return source


def open_resume(
    settings: RunSettings,
    source: FileSource | StreamSource | KvsSource,
    note: Callable[[str], None],
    own: str | None = None,
) -> ResumeFiles | None:
    """The status files of earlier runs, and that of this one where it is `own` already, compared with the task list where that can be read twice.

    Raises StatusFileError for a file that is none, or that belongs to another list.
    """
    paths = files_to_resume(settings, os.environ, note)
    if not paths and own is None:
        return None
    resume = ResumeFiles(paths, retry_failed=settings.retry, by_id_only=settings.force_resume, own=own)
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
                f"{counted(resume.moved, 'task')} {noun(resume.moved, 'stands', 'stand')} on another line than in the status "
                f"file; {noun(resume.moved, 'it is the same task', 'they are the same tasks')}"
            )
        if last < resume.last_task_id:
            note(
                f"the status file goes on to task {resume.last_task_id}, the task file ends with task {last}"
            )
    return resume


def listen(address: tuple[str, int] | None, option: str) -> socket.socket:
    """A listening socket; on loopback and a free port without an address. Raises UsageError that names the option."""
    host, port = address or (LOOPBACK, 0)
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port))
            sock.listen(1024)
        except BaseException:
            sock.close()
            raise
    except OSError as error:
        raise UsageError(
            f"{option} {host}:{port}: {error.strerror}; give an address of this machine"
        ) from None
    sock.setblocking(False)
    return sock
