"""Mail about a run (--mailTo): an observer in the driver's loop, and a thread that talks to the mail server.

What a mail says and when it is due is decided in `core.mailbag` and `core.letters`. A server that is slow, away or
gone costs the run nothing: the thread is a daemon, one mail is under way at a time, and the end waits a few seconds.
"""

import asyncio
import contextlib
import os
import queue
import socket
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from disbatch.core.letters import Sender, last_letter, letter
from disbatch.core.mailbag import Mailbag, plain
from disbatch.core.notable import Batch, Notable, RunEnd
from disbatch.runtime.folder import as_seen
from disbatch.runtime.mailsettings import MailSettings
from disbatch.runtime.observers import Watched

TIMEOUT_S = 20.0  # of each answer of the server: a busy one may greylist or look names up
RETRY_S = 15.0  # after a failure; doubled with each further one, up to eight minutes
LAST_WAIT_S = 4.0  # for the last mail, somebody may be waiting for the prompt; less than OBSERVERS_END_S
LAST_RETRY_S = 0.5  # the first pause between tries of the last mail


class Mail(NamedTuple):
    subject: str
    body: str


class Trouble(NamedTuple):
    """Why a mail did not reach somebody. `kind` is the same for the same cause, whatever the server adds to it."""

    kind: str
    text: str
    delivered: bool = False  # to the other addresses: to send it again would reach those twice
    lasting: bool = False  # the same will happen again in the next seconds


class Postman:
    """The thread. `send` queues a mail; `done(trouble)` is called in the thread, with None when it was accepted."""

    def __init__(self, settings: MailSettings, done: Callable[[Trouble | None], None]) -> None:
        self._settings = settings
        self._done = done
        self._queue: queue.SimpleQueue[Mail] = queue.SimpleQueue()
        threading.Thread(target=self._run, name="mail", daemon=True).start()

    def send(self, mail: Mail) -> None:
        self._queue.put(mail)

    def _run(self) -> None:
        while True:
            mail = self._queue.get()
            try:
                refused = self._deliver(mail)
            except (OSError, ValueError) as error:  # smtplib's exceptions are OSErrors, ssl's as well
                self._done(_trouble(error))
            else:
                text = f"{self._settings.host} refuses {', '.join(refused)}"
                self._done(Trouble(text, text, delivered=True) if refused else None)

    def _deliver(self, mail: Mail) -> list[str]:
        """Returns the addresses that the server refused, where it accepted others."""
        import smtplib  # here, for those who want mail: with email and ssl it is 60 ms
        import ssl
        from email.message import EmailMessage
        from email.utils import formatdate, make_msgid

        s, here = self._settings, socket.gethostname()
        message = EmailMessage()
        message["Subject"], message["Date"] = mail.subject, formatdate(localtime=True)
        message["From"] = s.sender or f"{_user()}@{here}"
        message["To"] = ", ".join(s.to)
        message["Message-ID"] = make_msgid("disbatch", here)
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday replies, please
        message.set_content(mail.body)
        # the name is given, or smtplib asks a name server for it
        if s.tls == "tls":
            context = ssl.create_default_context()
            server: smtplib.SMTP = smtplib.SMTP_SSL(s.host, s.port, here, timeout=TIMEOUT_S, context=context)
        else:
            server = smtplib.SMTP(s.host, s.port, here, timeout=TIMEOUT_S)
        with server:
            if s.tls == "starttls":
                server.starttls(context=ssl.create_default_context())
            if s.user:
                server.login(s.user, s.password)
            return sorted(server.send_message(message))


class Mailer:
    """The observer."""

    def __init__(self, settings: MailSettings, task_name: str) -> None:
        self._settings = settings
        self._to = ", ".join(settings.to)
        self._task_name = task_name
        self._timer: asyncio.TimerHandle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self._trouble: Trouble | None = None  # why the mail before was not sent
        self._ending = False  # only the last mail is sent from now on

    def begin(self, run: Watched) -> None:
        self._run = run
        self._loop = asyncio.get_running_loop()
        path = as_seen(run.files.status)
        self._sender = Sender(self._task_name, run.files.job_id, socket.gethostname(), path)
        self._bag = Mailbag(time.monotonic(), self._settings.every, self._settings.interval_s, RETRY_S)
        self._postman = Postman(self._settings, self._from_thread)

    def written(self, batch: Batch) -> None:
        self._bag.add(batch)
        self._plan()

    def happened(self, event: Notable) -> None:
        pass

    async def finish(self, end: RunEnd) -> None:
        """The last mail: it waits for one that is under way, and is tried for as long as the end may take."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._send_last(end), LAST_WAIT_S)
        why = f"{self._settings.host} has not answered yet"
        if self._trouble:
            why = self._trouble.text
        if self._trouble or not self._idle.is_set():
            self._run.warn(f"the last mail to {self._to} could not be sent: {why}")

    async def _send_last(self, end: RunEnd) -> None:
        self._ending = True
        if self._timer:
            self._timer.cancel()
        pause_s = LAST_RETRY_S
        while True:
            await self._idle.wait()
            now = time.monotonic()
            self._send(*last_letter(self._sender, self._bag.take(now), now, end))
            await self._idle.wait()
            if not self._trouble or self._trouble.lasting:
                return
            await asyncio.sleep(pause_s)
            pause_s *= 2

    def _plan(self) -> None:
        """Sends what is due now, or sets the clock for it."""
        due_s = None if self._ending else self._bag.due(time.monotonic())
        if self._timer and due_s is not None:
            return  # it is waited for already
        if due_s == 0:
            now = time.monotonic()
            self._send(*letter(self._sender, self._bag.take(now), now, self._run.snapshot()))
        elif due_s is not None:
            self._timer = self._loop.call_later(due_s, self._time_is_up)

    def _time_is_up(self) -> None:
        self._timer = None
        self._plan()

    def _send(self, subject: str, body: str) -> None:
        self._idle.clear()
        self._postman.send(Mail(subject, body))

    def _from_thread(self, trouble: Trouble | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: the run did not wait any longer
            self._loop.call_soon_threadsafe(self._sent, trouble)

    def _sent(self, trouble: Trouble | None) -> None:
        now = time.monotonic()
        if trouble is None or trouble.delivered:
            self._trouble = None
            if self._bag.delivered(now):
                self._run.log.info("mail to %s is accepted again", self._to)
            new = trouble is not None and self._bag.is_new(trouble.kind)
        else:
            self._trouble = trouble
            self._bag.failed(now)
            new = self._bag.is_new(trouble.kind) and not self._ending  # the end has its own words
        if trouble:
            follows = "" if trouble.delivered else ". It is tried again, and the run goes on"
            text = f"mail to {self._to} could not be sent: {trouble.text}{follows}"
            self._run.warn(text) if new else self._run.log.info(text)
        self._idle.set()
        self._plan()


def _user() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may have no entry for this user
        return f"uid{os.getuid()}"


def _trouble(error: Exception) -> Trouble:
    """Why, in one line."""
    code, said = getattr(error, "smtp_code", None), getattr(error, "smtp_error", b"")
    recipients = getattr(
        error, "recipients", None
    )  # smtplib's, when all of them are refused: address -> reply
    if isinstance(recipients, dict) and recipients:
        code, said = next(iter(recipients.values()))
    if code is not None:
        said = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        text = f"the server says {code} {said}"
        return Trouble(f"{type(error).__name__} {code}", _one_line(text), lasting=code >= 500)
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    kind = type(error).__name__
    return Trouble(f"{kind} {text}", _one_line(text) or kind, lasting="certificate" in text.lower())


def _one_line(text: str) -> str:
    return plain(" ".join(text.split()), 200)
