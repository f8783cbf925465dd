"""`python -m disbatch.help FOLDER`: writes manual pages and completions below FOLDER, as they are installed."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from disbatch import __version__, ctl
from disbatch.help.completion import bash_completion, zsh_completion
from disbatch.help.manpage import man_page
from disbatch.help.markdown import reference
from disbatch.help.model import Program, program_of
from disbatch.help.pages import PAGES, Page
from disbatch.options import build_parser
from disbatch.report.program import parser as report_parser

PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "disBatch": build_parser,
    "disbatch-ctl": lambda: ctl.build_parser(None),
    "disbatch-report": report_parser,
}


def programs() -> dict[str, tuple[Program, Page]]:
    """Every program with its page."""
    return {name: (program_of(PARSERS[name]()), page) for name, page in PAGES.items()}


def files() -> dict[str, str]:
    """Path below the prefix of an installation -> content."""
    found: dict[str, str] = {}
    for name, (program, page) in programs().items():
        names = (name, *page.aliases)
        found[f"share/man/man1/{name.lower()}.1"] = man_page(program, page, __version__)
        bash = bash_completion(program, names)
        for each in names:  # bash looks for a file with the name of the command
            found[f"share/bash-completion/completions/{each}"] = bash
        found[f"share/zsh/site-functions/_{name}"] = zsh_completion(program, names)
    return found


def reference_page() -> str:
    return reference(programs())


def write(folder: Path) -> list[str]:
    """Writes all files below the folder; returns their paths in it."""
    made = files()
    for path, text in made.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return sorted(made)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m disbatch.help FOLDER")
    print("\n".join(write(Path(sys.argv[1]))))
