"""Packages that disBatch needs and does not find: the command that installs them for the Python that runs."""

import os
import sys
from collections.abc import Iterable
from importlib.util import find_spec

from disbatch.importpath import ROOT

# All that a start of `disBatch` loads; others are looked for where they are needed.
REQUIRED = ("rich", "psutil", "cryptography", "msgspec")
_NAMES = {"hostlist": "python-hostlist"}  # by the name of the module, where the package has another one


def missing(modules: Iterable[str]) -> list[str]:
    """Return those of the modules that this Python does not find."""
    return [name for name in modules if find_spec(name) is None]


def install_command(modules: Iterable[str]) -> str:
    """Return the command that gets these modules, as one pastes it into a shell.

    A clone that is run by a Python outside of any virtual environment has a script of its own: `pip` of a system's Python
    refuses, or changes what is not the user's. The clone's `scripts/disBatch` then takes the environment that it makes.
    """
    import shlex

    setup = os.path.join(ROOT, "scripts", "setup-venv")
    home = os.path.dirname(os.path.dirname(sys.executable))
    if os.access(setup, os.X_OK) and not os.path.exists(os.path.join(home, "pyvenv.cfg")):
        return shlex.quote(setup)
    names = [_NAMES.get(name, name) for name in modules]
    return shlex.join([sys.executable, "-m", "pip", "install", *names])
