"""What a process of disBatch puts right before anything else: what its parent may have left wrong in it.

Signals that were ignored or blocked are inherited through exec. A parent that ignores SIGCHLD would take every exit code
away; one that blocks signals would make a run deaf to SIGTERM.
"""

import signal


def begin_process() -> None:
    """Set signals as every part of disBatch expects them.

    SIGHUP and SIGINT stay ignored where they are: `nohup`, and the background jobs of scripts. SIGPIPE and SIGXFSZ are
    ignored by the interpreter itself, whatever was inherited.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
