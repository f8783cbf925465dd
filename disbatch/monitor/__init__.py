"""What people look at: every view shows one `RunSnapshot`."""

from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """The monitor as a command: RUN (a prefix or an info file), `--once`, `--json`. Returns the exit code."""
    from disbatch.monitor.command import (
        main as command,
    )  # most who import this package want something else of it

    return command(argv)
