"""disBatch whose engines on this machine claim CPUs in a place of their own: `python claiming.py PLACE WORD…`.

PLACE is a file, made by the test. What else runs on the machine claims elsewhere, so the test depends on nothing of it. The
code that claims is the real one: it takes a lock on this file instead of the kernel's, and another name for its socket.
Engines are forked from the driver on this machine, and so have the place too.
"""

import functools
import os
import sys

from disbatch.cli import program
from disbatch.runtime import provision
from disbatch.runtime.cpuclaim import MACHINE, ClaimPlace, CpuClaim


def place_of(path: str) -> ClaimPlace:
    inode = os.stat(path).st_ino
    return ClaimPlace(((path, inode),), b"\0disbatch test %d " % inode, MACHINE.network)


if __name__ == "__main__":
    provision.CpuClaim = functools.partial(CpuClaim, place=place_of(sys.argv.pop(1)))
    sys.exit(program())
