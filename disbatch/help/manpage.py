"""A manual page in the man(7) macros."""

from collections.abc import Sequence

from disbatch.help.model import Option, Program
from disbatch.help.pages import Page

_ROFF = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti"}


def man_page(program: Program, page: Page, version: str) -> str:
    """The text of section 1's page of a program. Its lines end with newlines, and it has no date: builds repeat."""
    lines = [
        f'.TH {program.name.upper()} 1 "" "disBatch {version}" "User Commands"',
        ".nh",  # names of files and variables must stay whole
        ".ad l",
        ".SH NAME",
        f"{_text(program.name)} \\- {_text(page.summary)}",
        ".SH SYNOPSIS",
        *_synopsis(program),
        ".SH DESCRIPTION",
        *_paragraphs([program.summary, *page.description]),
        ".SH OPTIONS",
    ]
    for group in program.groups:
        title = group.title[:1].upper() + group.title[1:]
        lines += [f'.SS "{_text(title)}"', *_paragraphs([group.text] if group.text else [])]
        for option in group.options:
            lines += [".TP", _head(option), _line(option.help or " ")]
    for heading, entries in page.tables:
        lines.append(f'.SH "{heading.upper()}"')
        for name, meaning in entries:
            lines += [".TP", f".B {_quoted(name)}", _line(meaning)]
    if page.examples:
        lines.append(".SH EXAMPLES")
        for command, meaning in page.examples:
            lines += [".PP", _line(meaning), ".PP", ".RS 4", ".nf", _line(command), ".fi", ".RE"]
    if page.see_also:
        lines += [".SH SEE ALSO", ",\n".join(f".BR {name} (1)" for name in page.see_also)]
    return "\n".join(lines) + "\n"


def _synopsis(program: Program) -> list[str]:
    positionals = " ".join(
        f"[\\fI{_text(p.value)}\\fR]" if not p.needs_value else f"\\fI{_text(p.value)}\\fR"
        for p in program.positionals
    )
    return [f".B {_text(program.name)}", f"[\\fIOPTION\\fR]... {positionals}".rstrip()]


def _head(option: Option) -> str:
    """The line that names an option: names bold, the value slanted."""
    if not option.names:
        return f"\\fI{_text(option.value)}\\fR"
    parts = []
    for name in option.names:
        value = f" \\fI{_text(option.shown_value)}\\fR" if option.value else ""
        parts.append(f"\\fB{_text(name)}\\fR{value}")
    return ", ".join(parts)


def _paragraphs(texts: Sequence[str]) -> list[str]:
    return [line for text in texts for line in (".PP", _line(text))]


def _line(text: str) -> str:
    """A line of text, which must not be taken for a request."""
    escaped = _text(text)
    return "\\&" + escaped if text[:1] in (".", "'") or not text.strip() else escaped


def _quoted(text: str) -> str:
    return '"' + _text(text).replace('"', "\\(dq") + '"'


def _text(text: str) -> str:
    return "".join(_ROFF.get(character, character) for character in text)
