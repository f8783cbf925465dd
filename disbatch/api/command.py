"""A command line of `Executor.submit`: one line for bash, of which every word that a program adds is quoted."""

import os
from collections.abc import Iterable, Mapping

from disbatch.core.printable import shell_word
from disbatch.core.taskfile import is_directive, is_idle
from disbatch.runtime.settings import LINE_LIMIT

PathText = str | os.PathLike[str]


def command_line(
    command: str,
    args: Iterable[object] = (),
    *,
    env: Mapping[str, str] | None = None,
    cwd: PathText | None = None,
    stdin: PathText | None = None,
) -> bytes:
    """Return the command with quoted words behind it, and before it what gives the task its variables, folder and input.

    Relative paths are those of this process. Raises TypeError, and ValueError for what is no single command.
    """
    if not isinstance(command, str):
        raise TypeError(f"a command line is a str, not {type(command).__name__}: {command!r:.100}")
    text = " ".join([command, *(shell_word(str(word)) for word in args)])
    line = text.encode("utf-8", "surrogateescape")
    for character, name in ((b"\n", "a line break"), (b"\0", "a NUL character")):
        if character in line:
            raise ValueError(f"a command line cannot have {name}: {text!r:.200}")
    if is_directive(line):
        raise ValueError(f"a directive is no command (use DisBatcher for directives): {text!r:.200}")
    if is_idle(line):
        raise ValueError(f"a blank line or a comment is no command: {text!r:.200}")
    before = [*_folder(cwd), *_variables(env), *_input(stdin)]
    line = "".join(f"{step}; " for step in before).encode("utf-8", "surrogateescape") + line
    check_length(line)
    return line


def check_length(lines: bytes) -> None:
    """Raises ValueError for a line that is too long to be a command."""
    if len(lines) > LINE_LIMIT and max(map(len, lines.split(b"\n"))) > LINE_LIMIT:
        raise ValueError(
            f"a command line of more than {LINE_LIMIT >> 20} MiB: write the data into a file and give its name "
            f"({lines[:60]!r} …)"
        )


def _folder(cwd: object) -> list[str]:
    return [] if cwd is None else [f"cd -- {shell_word(_absolute(cwd, 'cwd'))} || exit"]


def _input(stdin: object) -> list[str]:
    return [] if stdin is None else [f"exec < {shell_word(_absolute(stdin, 'stdin'))} || exit"]


def _variables(env: object) -> list[str]:
    if env is None:
        return []
    if not isinstance(env, Mapping):
        raise TypeError(f"env is a mapping of names to strings, not {type(env).__name__}: {env!r:.100}")
    words = []
    for name, value in env.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise TypeError(f"env is a mapping of names to strings; it has {name!r:.100}: {value!r:.100}")
        if not (name.isascii() and name.isidentifier()):
            raise ValueError(f"env: {name!r:.100} is no name that bash has for a variable")
        words.append(f"{name}={shell_word(value)}")
    return ["export " + " ".join(words)] if words else []


def _absolute(path: object, name: str) -> str:
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise TypeError(
            f"{name} is the path of a {_WHAT[name]}, a string or a Path, not {type(path).__name__}"
        )
    return os.path.abspath(str(os.fspath(path)))


_WHAT = {"cwd": "folder", "stdin": "file"}
