"""Where mail goes and how: --mailTo, --mailFreq, and the mail server from environment variables."""

import argparse
import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from disbatch.core.errors import UsageError

INTERVAL_S = 60.0  # between two mails at least: ten thousand short tasks are no reason for ten thousand mails
PASSWORD_VARIABLE = "DISBATCH_SMTP_PASSWORD"
_PORTS = {"no": 25, "starttls": 587, "tls": 465}
Tls = Literal["no", "starttls", "tls"]
_TLS: dict[str, Tls] = {"no": "no", "starttls": "starttls", "tls": "tls"}


@dataclass(frozen=True, slots=True)
class MailSettings:
    to: tuple[str, ...]
    every: int  # tasks; 0: only the last mail
    interval_s: float
    host: str
    port: int
    tls: Tls
    user: str
    password: str = field(repr=False)
    sender: str  # address, or nothing: who runs this, on this host


def mail_settings(options: argparse.Namespace, environ: Mapping[str, str]) -> MailSettings | None:
    """None without --mailTo. Raises UsageError for an address or a variable that makes no sense."""
    if options.mailto is None:
        return None
    name = environ.get("DISBATCH_SMTP_TLS") or "no"
    if name not in _TLS:
        raise UsageError(f"DISBATCH_SMTP_TLS is {name!r}: no, starttls or tls is needed")
    tls = _TLS[name]
    host = environ.get("DISBATCH_SMTP_HOST") or "localhost"
    user, password = environ.get("DISBATCH_SMTP_USER", ""), _password(environ)
    if user and tls == "no" and not _is_here(host):
        raise UsageError(
            f"DISBATCH_SMTP_USER is set, but the password would go to {host} for everybody to read: "
            "set DISBATCH_SMTP_TLS to starttls or tls"
        )
    sender = environ.get("DISBATCH_MAIL_FROM", "")
    if sender:
        _check_address(sender, "DISBATCH_MAIL_FROM")
    addresses = tuple(part.strip() for part in options.mailto.split(","))
    for address in addresses:
        _check_address(address, "--mailTo")
    every = 1 if options.mailfreq is None else options.mailfreq
    interval_s = _number(environ, "DISBATCH_MAIL_INTERVAL", INTERVAL_S)
    port = int(_number(environ, "DISBATCH_SMTP_PORT", _PORTS[tls], least=1, most=65535))
    return MailSettings(addresses, every, interval_s, host, port, tls, user, password, sender)


def _password(environ: Mapping[str, str]) -> str:
    path = environ.get(PASSWORD_VARIABLE + "_FILE")
    if not path:
        return environ.get(PASSWORD_VARIABLE, "")
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return file.read().rstrip("\n")
    except (OSError, UnicodeError) as error:
        raise UsageError(f"DISBATCH_SMTP_PASSWORD_FILE: cannot read {path}: {error}") from None


def _check_address(address: str, where: str) -> None:
    """What would break the envelope is refused; whether it exists only the server knows."""
    if (
        not re.fullmatch(r"[^\s<>,;:\"\\()\[\]@]+(@[^\s<>,;:\"\\()@]+)?", address)
        or not address.isprintable()
    ):
        raise UsageError(f"{where}: {address!r} is no mail address (NAME@HOST; several with commas)")


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _number(
    environ: Mapping[str, str], name: str, default: float, *, least: float = 0, most: float = 86_400 * 7
) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not least <= value <= most:
        raise UsageError(f"{name} is {text!r}: a number from {least:g} to {most:g} is needed")
    return value
