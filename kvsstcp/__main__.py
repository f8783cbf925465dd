"""`python -m kvsstcp server ...` and `python -m kvsstcp client ...`. Only the choice between them belongs here."""

import sys

_USAGE = """usage: python -m kvsstcp server [options]
       python -m kvsstcp client [options] [HOST:PORT or INFOFILE]

`--help` behind server or client shows the options.
"""


def main(argv: list[str]) -> int:
    """Returns the exit code: 0 done, 1 not done (deadline, lost connection), 2 bad usage, 3 no server reached."""
    if argv[:1] == ["server"]:
        from kvsstcp.cli_server import main as server

        return server(argv[1:])
    if argv[:1] == ["client"]:
        from kvsstcp.cli_client import main as client

        return client(argv[1:])
    asked = argv[:1] in (["-h"], ["--help"])
    (sys.stdout if asked else sys.stderr).write(_USAGE)
    return 0 if asked else 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
