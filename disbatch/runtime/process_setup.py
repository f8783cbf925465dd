"""What a process of disBatch puts right before anything else: what its parent may have left wrong in it.

Signals that were ignored or blocked are inherited through exec. A parent that ignores SIGCHLD would take every exit code
away; one that blocks signals would make a run deaf to SIGTERM.
"""

import os
import signal

SHELL_LEVEL = "SHLVL"


def begin_process() -> None:
    """Set signals as every part of disBatch expects them.

    SIGHUP and SIGINT stay ignored where they are: `nohup`, and the background jobs of scripts. SIGPIPE and SIGXFSZ are
    ignored by the interpreter itself, whatever was inherited.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    _count_login_shell()


def _count_login_shell() -> None:
    """Let the bash of a task, a hook or a feeding program see that a shell stands above it.

    `ssh HOST COMMAND` sets SSH_CLIENT, and its shell leaves SHLVL at 0 for what it executes last. A bash that finds both
    takes itself for the login shell and runs ~/.bashrc: its time, its `cd`, what it prints. With SHLVL at 1 or more,
    as below any terminal, it does not.
    """
    level = os.environ.get(SHELL_LEVEL, "").strip()
    if not (level.isascii() and level.isdigit()) or int(level[:9]) < 1:
        os.environ[SHELL_LEVEL] = "1"
