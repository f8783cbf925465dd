"""A parser as plain values: what the pages and completions are made of. The only place that knows argparse's insides."""

import argparse
from dataclasses import dataclass
from typing import Literal

Kind = Literal["", "file", "command", "host", "choice"]

# What a value is, by the name that --help shows for it: completion offers what fits.
_KINDS: dict[str, Kind] = {
    "FILE": "file",
    "PATH": "file",
    "PREFIX": "file",
    "RUN": "file",
    "STATUSFILE": "file",
    "INFOFILE": "file",
    "TASKFILE": "file",
    "COMMAND": "command",
    "HOST:COUNT": "host",
}


@dataclass(frozen=True, slots=True)
class Option:
    """`names` is empty for a positional argument. `value` is empty for a flag."""

    names: tuple[str, ...]
    value: str
    needs_value: bool  # False also for one that may be left out
    repeats: bool
    choices: tuple[str, ...]
    help: str

    @property
    def kind(self) -> Kind:
        if self.choices:
            return "choice"
        name = self.value.rstrip(".").upper()
        return _KINDS.get(name, "")

    @property
    def shown_value(self) -> str:
        """As in the usage: in brackets where it may be left out."""
        return self.value if self.needs_value or not self.value else f"[{self.value}]"


@dataclass(frozen=True, slots=True)
class Group:
    title: str
    text: str
    options: tuple[Option, ...]


@dataclass(frozen=True, slots=True)
class Program:
    name: str
    summary: str
    usage: str  # one line, without "usage:"
    groups: tuple[Group, ...]
    epilog: str

    @property
    def options(self) -> list[Option]:
        return [option for group in self.groups for option in group.options if option.names]

    @property
    def positionals(self) -> list[Option]:
        return [option for group in self.groups for option in group.options if not option.names]


def program_of(parser: argparse.ArgumentParser) -> Program:
    """Everything that --help shows; what is hidden there stays hidden."""
    groups = []
    for group in parser._action_groups:
        shown = [a for a in group._group_actions if a.help is not argparse.SUPPRESS]
        if shown:
            options = tuple(_option(action, parser.prog) for action in shown)
            groups.append(Group(group.title or "", group.description or "", options))
    usage = " ".join(parser.format_usage().split()).removeprefix("usage: ")
    return Program(parser.prog, parser.description or "", usage, tuple(groups), parser.epilog or "")


def _option(action: argparse.Action, prog: str) -> Option:
    takes_value = action.nargs != 0
    if isinstance(action.metavar, tuple):
        value = " ".join(action.metavar)
    else:
        value = action.metavar or (action.dest.upper() if action.option_strings else action.dest)
    choices = tuple(map(str, action.choices)) if action.choices else ()
    if choices and not action.metavar:
        value = "{" + ",".join(choices) + "}"
    return Option(
        names=tuple(action.option_strings),
        value=value if takes_value else "",
        needs_value=takes_value and action.nargs not in ("?", "*"),
        repeats=isinstance(action, argparse._AppendAction) or action.nargs in ("*", "+"),
        choices=choices,
        help=" ".join(((action.help or "") % {**vars(action), "prog": prog}).split()),
    )
