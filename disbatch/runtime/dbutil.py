"""`PREFIX_dbUtil.sh`: the script with which machines are added to a run, and with which it is looked at and steered.

It works from any node that sees the folder, without disBatch on PATH, and also as a batch script, which schedulers copy
elsewhere: so every path in it is absolute.
"""

import os
import shlex
import sys

from disbatch.core.errors import MachineError
from disbatch.core.printable import printable, shell_word
from disbatch.importpath import arguments, bootstrap
from disbatch.runtime.facts import RunFacts
from disbatch.runtime.remote import program_root
from kvsstcp.ownfile import create_file

_SCRIPT = """#!/bin/bash
# Adds machines to the disBatch run {name}, or shows and steers it: --help tells how.
python={python}
if [ ! -x "$python" ]; then
    echo "$(hostname): $python is not here; disBatch has to be installed on a file system that all nodes see" >&2
    exit 3
fi
DISBATCH_CTL_NAME={script} exec "$python" {start} {prefix} "$@"
"""


def write_script(facts: RunFacts) -> None:
    """Raises MachineError."""
    quoted = shlex.quote
    path = script_path(facts)
    text = _SCRIPT.format(
        name=printable(os.path.basename(facts.prefix)),
        python=quoted(sys.executable),
        script=quoted(os.path.basename(path)),
        start=" ".join(map(quoted, (*bootstrap("script")[1:], *arguments(program_root())))),
        prefix=quoted(facts.prefix),
    )
    try:
        descriptor = create_file(path, 0o700)
        with open(descriptor, "w", encoding="utf-8", errors="surrogateescape") as file:
            file.write(text)
    except OSError as error:
        raise MachineError(f"cannot create {path}: {error.strerror}") from None


def script_path(facts: RunFacts) -> str:
    return facts.prefix + "_dbUtil.sh"


def how_to_join(facts: RunFacts) -> str:
    """What the user of a run without machines has to do next."""
    script = shell_word(script_path(facts))
    return (
        "waiting for machines. Add some, from anywhere that sees this folder:\n"
        f"    sbatch -N 2 --ntasks-per-node 4 {script}\n"
        f"    {script} -s localhost:4,otherhost:8"
    )
