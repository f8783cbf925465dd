"""Mail about a run, against a real SMTP server on this host: what arrives, and what a bad server costs the run."""

import asyncio
import email
import email.policy
import logging
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from disbatch_runs import Bench, processes_of, wait_until

from disbatch.core.joining import Answer
from disbatch.core.notable import Batch, RunEnd
from disbatch.core.snapshot import RunSnapshot
from disbatch.core.status import StatusRecord
from disbatch.runtime import mail
from disbatch.runtime.files import RunFiles
from disbatch.runtime.mailsettings import MailSettings
from disbatch.runtime.observers import Watched
from disbatch.runtime.steering import Steering

TO = "someone@example.org"


class Inbox:
    """The handler of a server: keeps what it accepts, refuses on demand."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[tuple[str, list[str]]] = []
        self.refuses: set[str] = set()
        self.answer = ""

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address in self.refuses:
            return "550 no such user"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answer:
            return self.answer
        parsed = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(parsed, EmailMessage)
        self.mails.append(parsed)
        self.envelopes.append((envelope.mail_from, list(envelope.rcpt_tos)))
        return "250 accepted"

    def bodies(self) -> list[str]:
        return [mail.get_content().replace("\r\n", "\n") for mail in self.mails]


class Office:
    """Starts servers with one inbox, all on one port, and stops them."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._controllers: list[Controller] = []

    def open(self, **options: Any) -> None:
        controller = Controller(self.inbox, hostname="127.0.0.1", port=self.port, **options)
        controller.start()
        self._controllers.append(controller)

    def close(self) -> None:
        while self._controllers:
            self._controllers.pop().stop()

    def environ(self, **more: str) -> dict[str, str]:
        return {
            "DISBATCH_SMTP_HOST": "127.0.0.1",
            "DISBATCH_SMTP_PORT": str(self.port),
            "DISBATCH_MAIL_INTERVAL": "0.05",
        } | more


@pytest.fixture
def office() -> Iterator[Office]:
    made = Office()
    yield made
    made.close()


def test_last_mail_tells_the_whole_run(bench: Bench, office: Office) -> None:
    office.open()
    tasks = "true\necho no licence >&2; exit 3\ntrue\n"
    result = bench.here(2, "--mailTo", TO, "--mailFreq", "0", tasks=tasks, env=office.environ())
    assert result.code == 0, result.err
    (mail,) = office.inbox.mails
    assert mail["Subject"] == "disBatch Tasks has ended: 3 tasks: 2 ok, 1 failed"
    assert mail["To"] == TO and "@" in mail["From"] and mail["Date"] and mail["Message-ID"]
    (body,) = office.inbox.bodies()
    assert "Since the start" in body and "3 tasks: 2 ok, 1 failed." in body
    assert "1 x exit code 3: no licence (e.g. task 1)" in body
    assert f"Status file: {bench.path / 'run_status.txt'} on {socket.gethostname()}" in body
    assert office.inbox.envelopes == [(mail["From"], [TO])]


def test_mail_comes_while_the_run_lasts(bench: Bench, office: Office) -> None:
    office.open()
    os.mkfifo(bench.path / "gate")
    tasks = "true\ntrue\ntrue\nread < gate\n"
    run = bench.start_here(1, "--mailTo", f"{TO},root", "--mailFreq", "3", tasks=tasks, env=office.environ())
    run.until(lambda: office.inbox.mails, "a mail has come")
    (body,) = office.inbox.bodies()
    assert office.inbox.mails[0]["Subject"] == "disBatch Tasks: 3 tasks: 3 ok, 0 failed so far"
    assert "Since the start (0:00:00): 3 tasks: 3 ok, 0 failed." in body
    assert office.inbox.envelopes[0][1] == [TO, "root"]
    (bench.path / "gate").write_text("\n")
    assert run.end().code == 0
    assert [mail["Subject"] for mail in office.inbox.mails[1:]] == [
        "disBatch Tasks has ended: 4 tasks: 4 ok, 0 failed"
    ]


def test_many_short_tasks_make_few_mails_that_tell_each_task_once(bench: Bench, office: Office) -> None:
    office.open()
    began = time.monotonic()
    env = office.environ(DISBATCH_MAIL_INTERVAL="0.2")
    result = bench.here(2, "--mailTo", TO, tasks="#DISBATCH REPEAT 300 true\n", env=env)
    assert result.code == 0, result.err
    told = [
        int(word.split()[0])
        for body in office.inbox.bodies()
        for word in [body.partition("Since the ")[2].partition("): ")[2]]
        if word
    ]
    assert sum(told) == 300
    assert 2 <= len(office.inbox.mails) <= 3 + (time.monotonic() - began) / 0.2


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificate and key of 127.0.0.1 in one file."""
    import datetime
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path


def tls_context(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"me", b"pass word")
    return AuthResult(success=good, handled=False)


def test_starttls_and_login_and_no_password_where_a_task_could_find_it(
    bench: Bench, office: Office, certificate: Path
) -> None:
    office.open(
        tls_context=tls_context(certificate), require_starttls=True, authenticator=login, auth_required=True
    )
    env = office.environ(
        DISBATCH_SMTP_TLS="starttls",
        DISBATCH_SMTP_USER="me",
        DISBATCH_SMTP_PASSWORD="pass word",
        DISBATCH_MAIL_FROM="me@example.org",
        SSL_CERT_FILE=str(certificate),
    )
    tasks = "env > env.txt; tr '\\0' '\\n' < /proc/$PPID/environ > engine.txt\n"
    result = bench.here(1, "--mailTo", TO, "--mailFreq", "0", "--loglevel", "DEBUG", tasks=tasks, env=env)
    assert result.err == ""
    assert [mail["From"] for mail in office.inbox.mails] == ["me@example.org"]
    assert "DISBATCH_SMTP_USER" in bench.read("env.txt")  # the file shows the environment indeed
    for path in [bench.path / "env.txt", *bench.path.glob("run_*")]:
        assert "pass word" not in path.read_text(), path


def test_tls_from_the_start(bench: Bench, office: Office, certificate: Path) -> None:
    office.open(ssl_context=tls_context(certificate))
    env = office.environ(DISBATCH_SMTP_TLS="tls", SSL_CERT_FILE=str(certificate))
    result = bench.here(1, "--mailTo", TO, "--mailFreq", "0", tasks="true\n", env=env)
    assert (result.err, len(office.inbox.mails)) == ("", 1)


def test_server_that_nobody_vouches_for_gets_nothing(bench: Bench, office: Office, certificate: Path) -> None:
    office.open(tls_context=tls_context(certificate), require_starttls=True)
    env = office.environ(DISBATCH_SMTP_TLS="starttls")
    result = bench.here(1, "--mailTo", TO, "--mailFreq", "0", tasks="true\n", env=env)
    assert result.code == 0
    assert "the last mail to someone@example.org could not be sent:" in result.err
    assert "certificate verify failed" in result.err
    assert office.inbox.mails == []


def test_wrong_password_is_said_in_the_words_of_the_server(
    bench: Bench, office: Office, certificate: Path
) -> None:
    office.open(authenticator=login, auth_required=True, auth_require_tls=False)
    env = office.environ(DISBATCH_SMTP_USER="me", DISBATCH_SMTP_PASSWORD="sesame2")
    os.mkfifo(bench.path / "gate")
    run = bench.start_here(1, "--mailTo", TO, tasks="true\nread < gate\n", env=env)
    run.until(lambda: "could not be sent" in run.err(), "the refusal is told")
    (bench.path / "gate").write_text("\n")
    result = run.end()
    assert result.code == 0
    assert (
        "could not be sent: the server says 535" in result.err and "sesame2" not in result.err + bench.logs()
    )


def test_server_that_is_away_is_named_once_and_told_everything_when_it_is_back(
    bench: Bench, office: Office
) -> None:
    for gate in ("one", "two"):
        os.mkfifo(bench.path / gate)
    tasks = "true\n#DISBATCH BARRIER\nread < one\ntrue\n#DISBATCH BARRIER\nread < two\n"
    run = bench.start_here(2, "--mailTo", TO, tasks=tasks, env=office.environ())
    run.until(lambda: "could not be sent" in run.err(), "the server is missed")
    (bench.path / "one").write_text("\n")
    run.until(lambda: len(bench.done()) == 3, "the run goes on")
    office.open()
    (bench.path / "two").write_text("\n")
    result = run.end()
    assert result.code == 0
    assert result.err.count("could not be sent") == 1, result.err
    assert "Connection refused. It is tried again, and the run goes on" in result.err
    (body,) = office.inbox.bodies()
    assert "): 4 tasks: 4 ok, 0 failed." in body
    assert office.inbox.mails[0]["Subject"] == "disBatch Tasks has ended: 4 tasks: 4 ok, 0 failed"


def test_mail_that_was_not_sent_is_tried_again_while_nothing_happens(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The observer alone, with less patience, and no task that would remind it."""
    monkeypatch.setattr(mail, "RETRY_S", 0.05)
    now = RunSnapshot(1.0, 1, 0, 0, 1, 0, 2, "", "running", ())
    done = StatusRecord("    ", 0, 1, -1, "vm", 9, 0, 0.1, 1.0, 1.1, 0, "", 0, "", "true")
    said: list[str] = []

    async def play() -> None:
        mailer = mail.Mailer(
            MailSettings((TO,), 1, 0.05, "127.0.0.1", office.port, "no", "", "", "me@here"), "Tasks"
        )
        steering = Steering(lambda event: None, lambda kind, name: Answer(True, ""))
        files, log = RunFiles(str(tmp_path / "run"), "", "job", "log"), logging.getLogger("test")
        mailer.begin(
            Watched(files, lambda: now, lambda: now, lambda: [], said.append, said.append, log, steering)
        )
        mailer.written(Batch([done], 0))
        while not said:
            await asyncio.sleep(0.01)
        await asyncio.to_thread(office.open)
        while not office.inbox.mails:
            await asyncio.sleep(0.01)
        await mailer.finish(RunEnd("COMPLETE", "all tasks have been done", 0, now, [], False))

    asyncio.run(asyncio.wait_for(play(), 20))
    assert len(said) == 1 and "It is tried again" in said[0]
    first, last = (mail["Subject"] for mail in office.inbox.mails)
    assert first == "disBatch Tasks: 1 task: 1 ok, 0 failed so far" and "has ended" in last


def test_server_that_comes_back_at_the_very_end(bench: Bench, office: Office) -> None:
    run = bench.start_here(1, "--mailTo", TO, "--mailFreq", "0", tasks="true\n", env=office.environ())
    run.until_exists("run_driver.txt")
    run.until(lambda: "could not be sent" in bench.read("run_driver.txt"), "the first try has failed")
    office.open()
    assert (run.end().err, len(office.inbox.mails)) == ("", 1)


def test_refusals_of_the_server(bench: Bench, office: Office) -> None:
    office.open()
    office.inbox.refuses = {"nobody@example.org"}
    to = f"{TO},nobody@example.org"
    result = bench.here(1, "--mailTo", to, "--mailFreq", "0", tasks="true\n", env=office.environ())
    assert "127.0.0.1 refuses nobody@example.org" in result.err
    assert [who for _, who in office.inbox.envelopes] == [[TO]]  # and not twice
    office.inbox.answer = "554 no mail from you"
    result = bench.here(1, "--mailTo", TO, "--mailFreq", "0", "-p", "b", tasks="true\n", env=office.environ())
    assert "the server says 554 no mail from you" in result.err and len(office.inbox.mails) == 1


@pytest.fixture
def hanging_port() -> Iterator[int]:
    """A server that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        taken: list[socket.socket] = []

        def take() -> None:
            while True:
                try:
                    taken.append(listener.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=take, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        for connection in taken:
            connection.close()


def test_server_that_hangs_costs_the_end_a_few_seconds_and_tasks_nothing(
    bench: Bench, office: Office, hanging_port: int
) -> None:
    env = office.environ(DISBATCH_SMTP_PORT=str(hanging_port))
    run = bench.start_here(2, "--mailTo", TO, tasks="#DISBATCH REPEAT 50 true\n", env=env)
    run.until_exists("run_status.txt")
    run.until(lambda: len(bench.done()) == 50, "all tasks are done")
    done = time.monotonic()
    result = run.end()
    assert time.monotonic() - done < 6.0
    assert result.code == 0
    assert "127.0.0.1 has not answered yet" in result.err


def test_interrupt_cuts_the_last_wait_short(bench: Bench, office: Office, hanging_port: int) -> None:
    import signal

    env = office.environ(DISBATCH_SMTP_PORT=str(hanging_port))
    run = bench.start_here(1, "--mailTo", TO, "--mailFreq", "0", tasks="true\n", env=env)
    run.until_exists("run_driver.txt")
    run.until(lambda: "leaves" in bench.read("run_driver.txt"), "the engine has left")
    wait_until(lambda: processes_of(str(bench.path.parent)) == [run.pid], "only the driver is left")
    began = time.monotonic()
    run.signal(signal.SIGINT)
    assert run.end().code == 0
    assert time.monotonic() - began < 2.0
