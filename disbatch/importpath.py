"""From where the programs of disBatch import: the standard library, then disBatch, then what is installed, then PYTHONPATH.

Nothing that lies in the working folder or on PYTHONPATH may take the place of a module that disBatch needs: people work
beside files named `queue.py`. PYTHONPATH stays at the end, as module systems have packages there. Its tasks get the
variable unchanged.

This file imports only what the interpreter itself has loaded already: it runs before the order is right.
"""

import os
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# First words of a `python -I -c` that a program of disBatch starts: `bootstrap("engine")` with `arguments()` behind it.
_BOOTSTRAP = "import sys; sys.path.insert(0, sys.argv[1]); from disbatch.programs import {name}; {name}()"


def arrange() -> None:
    """Put `sys.path` in order for this process, which has to be a program of disBatch, not of a user."""
    path = list(sys.path)
    if path and not sys.flags.safe_path and path[0] != ROOT:
        # The folder of the script, or the working folder for `python -m`.
        del path[0]
    named = () if sys.flags.ignore_environment else _named(os.environ.get("PYTHONPATH", ""))
    sys.path[:] = arranged(path, ROOT, named)


def adopt() -> None:
    """Take over the import path of the program that started this one: see `arguments`."""
    root, more = sys.argv[1:3]
    del sys.argv[1:3]
    path = [entry for entry in sys.path if entry != root]
    path += [entry for entry in more.split(os.pathsep) if entry and entry not in path]
    sys.path[:] = arranged(path, root, ())


def bootstrap(name: str) -> tuple[str, ...]:
    """Return the first arguments of a command that starts a program of `disbatch.programs`.

    It is isolated (-I): what stands in the environment or the working folder of the other host plays no part.
    """
    return (sys.executable, "-I", "-c", _BOOTSTRAP.format(name=name))


def arguments(root: str) -> tuple[str, str]:
    """Return what `adopt` reads: the folder of disBatch, and where this process finds other packages."""
    more = [entry for entry in sys.path if entry and entry != ROOT and not _is_standard(entry)]
    return root, os.pathsep.join(entry for entry in more if os.pathsep not in entry)


def arranged(path: list[str], root: str, named: tuple[str, ...]) -> list[str]:
    """Return the entries of `path` in the right order, `root` among them; those that PYTHONPATH has `named` come last."""
    others = [entry for entry in path if entry and entry != root and not _is_standard(entry)]
    return [
        *(entry for entry in path if entry != root and _is_standard(entry)),
        root,
        *(entry for entry in others if entry not in named),
        *(entry for entry in others if entry in named),
    ]


def _named(variable: str) -> tuple[str, ...]:
    """Return the entries of PYTHONPATH as the interpreter writes them into `sys.path`."""
    found = []
    for entry in variable.split(os.pathsep) if variable else ():
        try:
            found += [entry, os.path.abspath(entry)]
        except OSError:
            # The working folder was deleted.
            found.append(entry)
    return tuple(found)


def _is_standard(entry: str) -> bool:
    library = os.path.dirname(os.__file__)
    archive = "python%d%d.zip" % sys.version_info[:2]
    return entry == library or os.path.basename(entry) in ("lib-dynload", archive)
