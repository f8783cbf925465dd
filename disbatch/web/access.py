"""Who may look at the page and who may act on it, and the headers that keep a browser from giving anything away.

One secret a run: the token in the page's address. The first load trades it for a cookie, which no script and no other
site can use; after that the token is in no request any more. Nothing here does IO.
"""

import hashlib
import hmac
import secrets
from urllib.parse import urlsplit

TOKEN_BYTES = 32

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


class Access:
    """The secrets of one page. Comparisons take the same time whatever is wrong."""

    def __init__(self, port: int) -> None:
        self.token = secrets.token_urlsafe(TOKEN_BYTES)
        self.cookie = secrets.token_urlsafe(TOKEN_BYTES)
        # browsers keep one jar for all ports of a host: two pages on one host must not take each other's
        self.cookie_name = f"disbatch_{port}"

    def by_token(self, token: str | None) -> bool:
        return _same(token, self.token)

    def by_cookie(self, cookie: str | None) -> bool:
        return _same(cookie, self.cookie)

    def by_header(self, authorization: str | None) -> bool:
        """`Authorization: Bearer TOKEN`, for programs."""
        scheme, _, token = (authorization or "").partition(" ")
        return scheme.lower() == "bearer" and _same(token.strip(), self.token)


def own_origin(origin: str | None, host: str | None) -> bool:
    """Whether a browser says that the request comes from the page itself. The host is as the browser knows it: it may
    be the near end of a tunnel."""
    return bool(origin and host) and urlsplit(origin or "").netloc.lower() == (host or "").lower()


def _same(given: str | None, secret: str) -> bool:
    # digests: `compare_digest` tells the length of what it compares, and refuses text beyond ASCII
    digest = hashlib.sha256((given or "").encode("utf-8", "surrogateescape")).digest()
    return hmac.compare_digest(digest, hashlib.sha256(secret.encode()).digest())
