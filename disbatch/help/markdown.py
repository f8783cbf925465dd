"""The reference page of the documentation: every option of every program, from the parsers."""

from disbatch.help.model import Option, Program
from disbatch.help.pages import Page

USAGE_WIDTH = 78


def reference(programs: dict[str, tuple[Program, Page]]) -> str:
    """One page for all programs."""
    lines = ["# Command line", "", "All options of all programs, as `--help` has them.", ""]
    for name, (program, page) in programs.items():
        lines += [f"## {name}", "", program.summary or page.summary, ""]
        lines += ["```text", *_wrapped(program.usage), "```", ""]
        for group in program.groups:
            lines += [f"### {name}: {group.title}", ""]
            lines += [group.text, ""] if group.text else []
            lines += ["| Option | Meaning |", "| --- | --- |"]
            lines += [f"| {_names(option)} | {_cell(option.help)} |" for option in group.options]
            lines.append("")
        for heading, entries in page.tables:
            lines += [f"### {name}: {heading.lower()}", "", "| | |", "| --- | --- |"]
            lines += [f"| {_code(what)} | {_cell(meaning)} |" for what, meaning in entries]
            lines.append("")
    return "\n".join(lines)


def _wrapped(usage: str) -> list[str]:
    """An option is never cut in two."""
    parts, depth = [""], 0
    for character in usage:
        depth += (character == "[") - (character == "]")
        if character == " " and not depth:
            parts.append("")
        else:
            parts[-1] += character
    lines = [parts[0]]
    for part in parts[1:]:
        if len(lines[-1]) + len(part) < USAGE_WIDTH:
            lines[-1] += " " + part
        else:
            lines.append("    " + part)
    return lines


def _names(option: Option) -> str:
    if not option.names:
        return _code(option.value)
    value = f" {option.shown_value}" if option.value else ""
    return ", ".join(_code(name + value) for name in option.names)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def _cell(text: str) -> str:
    for character in "|<*_[":
        text = text.replace(character, "\\" + character)
    return text
