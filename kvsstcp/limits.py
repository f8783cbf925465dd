"""The bounds of server and clients: one place, each with its reason. No code that enforces them belongs here."""

from typing import NamedTuple


class Limits(NamedTuple):
    """What a peer may ask for. Sizes in bytes, times in seconds."""

    key_bytes: int = 65_536
    """Longest key. Keys are names; the longest that feeding programs build are a few hundred bytes."""

    value_bytes: int = 1 << 30
    """Longest value: what old clients could send in practice."""

    input_total_bytes: int = 4 << 30
    """Unfinished requests of all connections together: four of the largest values under way at the same time."""

    output_bytes: int = 1 << 20
    """Unsent replies of one connection. Beyond it nothing more is read from that peer until it has read; so a peer
    that never reads holds this much, and one value, until `silent_s` ends it."""

    batch_bytes: int = 65_536
    """Replies are gathered up to this size before they are written: one system call for many small ones."""

    receive_bytes: int = 131_072
    """Bytes read at once from one connection, before others have their turn."""

    connections: int = 20_000
    """Proven connections at the same time: ten thousand engines, and as many again for programs and viewers."""

    unproven: int = 2_048
    """Connections that have not proven themselves. When one more comes the oldest is cut off, because an honest
    client is through in milliseconds: so half-open connections never keep anybody out."""

    together: int = 22_048
    """Connections of both kinds. The oldest that have not proven themselves make room for others."""

    listen_backlog: int = 1_024
    """Connections that the kernel holds for us while we are busy: a thousand engines start in the same second."""

    handshake_s: float = 10.0
    """Time for TLS and the proof: a thousand clients at once need some two seconds on one slow core."""

    failed_delay_s: float = 0.25
    """How long the first failed proof of an address is left without an end; doubled for each further one."""

    failed_delay_max_s: float = 8.0
    """Longest such delay. The address itself is never shut out: an honest engine may stand behind it, too."""

    failed_forget_s: float = 60.0
    """An address without failed proofs for this long is a stranger again."""

    failed_addresses: int = 1_024
    """Addresses whose failures are remembered; the oldest are forgotten first."""

    keepalive_idle_s: int = 20
    """Silence after which the kernel asks whether the peer's host is still there. Firewalls that forget idle
    connections wait for minutes; ten thousand engines cost five hundred small packets a second at most."""

    keepalive_interval_s: int = 5
    """Seconds between such questions while no answer comes: a few may get lost."""

    silent_s: int = 40
    """A peer whose host answers nothing for so long (crashed, unplugged, a firewall that forgot us) is gone: long
    enough for a network that hiccups or a switch that restarts, well below the lease of an engine. It holds too where
    something waits to be sent, which keepalive alone leaves to some fifteen minutes of repeating. A stopped program is no
    silent host, unless more is sent to it than its kernel takes: then the kernel counts that time, too."""

    close_flush_s: float = 2.0
    """How long a closing server waits for peers to take what was already sent to them."""

    monitors: int = 1_000
    """Monitor registrations. Each costs time in every operation on what it watches."""

    dump_keys: int = 100_000
    """Keys that one dump shows; the server stands still while it writes them."""


DEFAULT_LIMITS = Limits()
# Fewer than that would keep honest clients out that come at the same time.
_LEAST = 4
# This part of what there is stays for those who have just come, however many have proven themselves.
_NEWCOMERS = 16


def limits_for(descriptors: int, reserved: int) -> Limits:
    """Return bounds for a process that may have so many descriptors, `reserved` of them for other ends than connections.

    Strangers get half of what is left, and lose it to those who prove themselves.
    """
    free = max(2 * _LEAST, descriptors - reserved)
    newcomers = max(_LEAST, free // _NEWCOMERS)
    return DEFAULT_LIMITS._replace(
        connections=min(DEFAULT_LIMITS.connections, free - newcomers),
        unproven=min(DEFAULT_LIMITS.unproven, free // 2),
        together=min(DEFAULT_LIMITS.together, free),
    )
