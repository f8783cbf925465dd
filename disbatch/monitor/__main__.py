"""`python -m disbatch.monitor`."""

import sys

from disbatch.monitor.command import main

if __name__ == "__main__":
    sys.exit(main())
