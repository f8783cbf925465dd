"""`python -m disbatch.monitor RUN [--once] [--json]`: the same as `disbatch-ctl RUN --mon`."""

import sys

from disbatch.ctl import main

if __name__ == "__main__":
    sys.exit(main(["--mon", *sys.argv[1:]]))
