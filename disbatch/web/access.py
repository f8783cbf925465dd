"""Who may look at the page and who may act on it, and the headers that keep a browser from giving anything away.

No secret is sent by a browser on its own: a cookie would go to every port of this host. The page's address holds a
ticket, behind `#`, where it is in no request. The page trades it, once and within a few minutes, for a session, which it keeps for
its own origin and shows in a header. Programs show a token that lasts as long as the run.

The name that a request was sent to is looked at as well: a site of somebody else whose name leads here (DNS rebinding)
is not the page. Nothing here does IO.
"""

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Sequence
from ipaddress import IPv6Address, ip_address

TOKEN_BYTES = 32
# from a terminal or a file into a browser, maybe through a tunnel that has to be made first
TICKET_S = 900.0
# browsers that may be known at the same time; the oldest is forgotten
SESSIONS = 1000

# plotly.js makes an empty style element and fills it rule by rule: the hash of nothing allows that and no more
EMPTY_STYLE = "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
    f"style-src 'self' {EMPTY_STYLE}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Cache-Control": "no-store",
    "Server": "disBatch",
}
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::([0-9]{1,5}))?")
HTTP_PORT = 80


class Access:
    """The secrets of one page, and the names that it has. Comparisons take the same time whatever is wrong."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        # of this machine, as far as they are known: a name that takes long to find out is added later
        self.names = {_plain_name(name) for name in names}
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        """For programs."""
        self.charts_key = secrets.token_urlsafe(TOKEN_BYTES)
        """For plotly.js alone: a script is asked for without a header."""
        # digests, so that looking for one takes the same time whatever is wrong
        self._tickets: dict[bytes, float] = {}
        self._sessions: dict[bytes, None] = {}

    def ticket(self, now_s: float) -> str:
        """Return a new ticket. It opens one session, within TICKET_S."""
        self._tickets = {digest: until for digest, until in self._tickets.items() if until > now_s}
        made = secrets.token_urlsafe(TOKEN_BYTES)
        self._tickets[_digest(made)] = now_s + TICKET_S
        return made

    def session(self, ticket: str, now_s: float) -> str | None:
        """Return a session for a ticket; None for one that was used, is too old, or is none."""
        until = self._tickets.pop(_digest(ticket), None)
        if until is None or until <= now_s:
            return None
        made = secrets.token_urlsafe(TOKEN_BYTES)
        self._sessions[_digest(made)] = None
        while len(self._sessions) > SESSIONS:
            del self._sessions[next(iter(self._sessions))]
        return made

    def by_header(self, authorization: str | None) -> bool:
        """`Authorization: Bearer SECRET`, with a session or the token for programs."""
        scheme, _, secret = (authorization or "").partition(" ")
        if scheme.lower() != "bearer":
            return False
        digest = _digest(secret.strip())
        return digest in self._sessions or hmac.compare_digest(digest, _digest(self.token))

    def by_charts_key(self, key: str | None) -> bool:
        return hmac.compare_digest(_digest(key or ""), _digest(self.charts_key))

    def by_host(self, hosts: Sequence[str], arrived: tuple[str, int]) -> bool:
        """Return True if the Host header, which is there once, names what the page is served under.

        That is a name of this machine, or the address at which the connection has `arrived`, with the port. A loopback
        name may come with any port, that of the near end of an ssh tunnel: no other site can have such a name.
        """
        found = _split(hosts[0]) if len(hosts) == 1 else None
        if found is None:
            return False
        name, port = found
        address = _address(name)
        if name == "localhost" or getattr(address, "is_loopback", False):
            return True
        known = name in self.names if address is None else address == _address(arrived[0])
        return known and port == arrived[1]


def own_origin(origin: str | None, host: str | None) -> bool:
    """Return True if a browser says that the request comes from the page itself. The host is as the browser knows it:
    it may be the near end of a tunnel."""
    return (
        host is not None and _split(host) is not None and (origin or "").lower() == f"http://{host}".lower()
    )


def _split(host: str) -> tuple[str, int] | None:
    """Name or address, and port, of a Host header; None where it has another form."""
    found = _HOST.fullmatch(host.lower())
    if found is None:
        return None
    return _plain_name(found[1]), int(found[2] or HTTP_PORT)


def _plain_name(name: str) -> str:
    return name.lower().strip("[]").removesuffix(".")


def _address(text: str) -> object:
    """An IP address, the same one however it is written; None for what is none."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return found.ipv4_mapped or found if isinstance(found, IPv6Address) else found


def _digest(secret: str) -> bytes:
    # `compare_digest` tells the length of what it compares, and refuses text beyond ASCII
    return hashlib.sha256(secret.encode("utf-8", "backslashreplace")).digest()
