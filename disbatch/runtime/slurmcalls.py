"""The programs of Slurm that the driver calls, before its event loop runs."""

import os
import subprocess
from collections.abc import Mapping

from disbatch.contexts import slurm
from disbatch.core.errors import UsageError

CALL_S = 30.0  # a controller that is busy answers late; one that is gone, never


def expand_node_list(text: str) -> list[str]:
    """The names in a node list of Slurm: by scontrol, or by python-hostlist where that is missing.

    Raises UsageError when neither can.
    """
    try:
        done = subprocess.run(
            ["scontrol", "show", "hostnames", text],
            capture_output=True,
            text=True,
            timeout=CALL_S,
            check=True,
        )
        return done.stdout.split()
    except (OSError, subprocess.SubprocessError) as error:
        why = str(error)
    try:
        from hostlist import expand_hostlist
    except ImportError:
        raise UsageError(
            f"the node list {text} cannot be expanded: {why}; pip install 'disbatch[slurm]' helps without scontrol"
        ) from None
    names: list[str] = expand_hostlist(text)
    return names


def srun_options(environ: Mapping[str, str]) -> dict[str, str]:
    """The user's additions to the environment of srun. Raises UsageError when the file cannot be read."""
    path = environ.get(slurm.OPTIONS_FILE_VARIABLE)
    if not path:
        return {}
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            return slurm.options_file(file.read(), path)
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{slurm.OPTIONS_FILE_VARIABLE}={path}: {error}") from None
