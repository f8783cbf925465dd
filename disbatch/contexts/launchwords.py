"""Of all that ssh, srun and an engine print when no engine comes up: the last lines that say why. Pure."""

import re

from disbatch.core.printable import printable

SEPARATOR = " | "
SSH_FAILED = 255
SIGNALS = range(-64, 0)
REACHED = "disBatch: the login has come to its command"
SHOWN_CHARS = 600  # an engine that reaches nobody lists every address that it tried

# Said about good launches too.
_NOISE = re.compile(
    r"srun: cluster configuration lacks support for"
    r"|srun: (Job step|Step|job [0-9]+) .*(creat|queued|allocated|retrying)"
    r"|srun: (Force )?Terminat|srun: Job step aborted|srun: launch/slurm: _step_signal"
    r"|Warning: Permanently added|Pseudo-terminal will not|Connection to .* closed|Shared connection to"
    r"|disBatch: the login has come to its command"
    r"|Killed by signal|\*\* |@{5,}|Last login|Authorized uses only",
    re.IGNORECASE,
)
# Says that something went wrong; what it was stands in another line, if anywhere.
_WEAK = re.compile(
    r"srun: error: [^ ]+: tasks? [0-9,\[\]-]+: "
    r"|(srun|slurmstepd[^:]*): error: \*\*\* STEP .* CANCELLED"
    r"|Host key verification failed|Add correct host key in|Please contact your system administrator"
    r"|srun: error: Application launch failed",
    re.IGNORECASE,
)


def not_begun(code: int | None) -> str:
    """What may be the matter where a login has not come to its command (REACHED): it has ended with this exit code, or,
    with None, hangs. Empty: nothing is known."""
    if code is None:
        return "the host or the way to it hangs, or a start file of the login shell there (~/.bashrc) waits for input"
    if code in (SSH_FAILED, *SIGNALS):
        return ""
    return "a start file of the login shell there (~/.bashrc) has ended or replaced the shell before it ran the engine"


def why(said: str, most: int = 1) -> str:
    """The last lines that matter, at most so many, as one line with ` | ` between them; or nothing.

    The very last counts most: lines before it are left out where all would not fit.
    """
    lines = [line.strip() for line in said.splitlines()]
    told = [line for line in lines if line and not _NOISE.match(line)]
    strong = [line for line in told if not _WEAK.match(line)]
    shown = list(dict.fromkeys(strong or told))[-most:]
    while len(shown) > 1 and len(SEPARATOR.join(shown)) > SHOWN_CHARS:
        del shown[0]
    text = printable(SEPARATOR.join(shown))
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 1] + "…"
