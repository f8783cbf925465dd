"""The working folder of a run, and paths below it, by the names that the user sees.

Where a folder has several names, other machines may know only one of them: a symbolic link here and a mount there. The
shell keeps in PWD the name by which the user came; the kernel, asked for the working folder, tells another one.
"""

import contextlib
import os


def working_folder() -> str:
    """Return the path of the working folder: PWD where that is the same folder, else as the kernel calls it.

    Raises OSError when the folder does not exist any more.
    """
    named = os.environ.get("PWD", "")
    plain = os.path.isabs(named) and not {".", ".."} & set(named.split("/"))
    return named if plain and is_same_folder(named, ".") else os.getcwd()


def as_seen(path: str) -> str:
    """Return the absolute path of a file below the working folder's own name.

    A `..` behind a symbolic link leads elsewhere than its text says: then the path is as the kernel has it.
    """
    found = os.path.normpath(os.path.join(working_folder(), path))
    same = is_same_folder(os.path.dirname(found), os.path.dirname(path) or ".")
    return found if same else os.path.abspath(path)


def is_same_folder(one: str, other: str) -> bool:
    """Return True if both names lead to one folder, by device and inode."""
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return False


def enter_again(folder: str) -> None:
    """Go to the folder of this name if the working folder was removed: it may have been made again.

    Asking costs half a microsecond, and no file server is asked. Where there is no such folder either, nothing changes.
    """
    try:
        os.getcwd()
    except FileNotFoundError:
        with contextlib.suppress(OSError):
            os.chdir(folder)
