"""Manual page, completions and reference, made from parsers: a small one whose pages are known, and the real ones."""

import argparse
import re

import pytest

from disbatch.help.__main__ import files, programs, reference_page
from disbatch.help.completion import bash_completion, zsh_completion
from disbatch.help.manpage import man_page
from disbatch.help.model import Program, program_of
from disbatch.help.pages import Page


def small() -> Program:
    parser = argparse.ArgumentParser(prog="wash", description="Washes things.", epilog="bye")
    parser.add_argument(
        "-t", "--tub", metavar="FILE", action="append", help="where, 100%% or [not]: it's up to you"
    )
    parser.add_argument(
        "--heat", choices=("low", "high"), default="low", help="how hot (default: %(default)s)"
    )
    parser.add_argument("--rinse", nargs="?", const="", metavar="HOST:PORT", help=".dot first\\")
    parser.add_argument("--secret", help=argparse.SUPPRESS)
    parser.add_argument_group("things").add_argument("thing", nargs="?", metavar="taskfile", help="what")
    return program_of(parser)  # fmt: skip


PAGE = Page(
    "washes", tables=(("Exit status", (("0", "clean"),)),), examples=(("wash -t tub", "Do:"),), see_also=("dry",)
)  # fmt: skip


def test_model_has_what_help_shows_and_no_more() -> None:
    program = small()
    by_name = {option.names[-1]: option for option in program.options}
    assert sorted(by_name) == ["--heat", "--help", "--rinse", "--tub"]
    tub, heat, rinse = by_name["--tub"], by_name["--heat"], by_name["--rinse"]
    assert (tub.names, tub.kind, tub.repeats, tub.needs_value) == (("-t", "--tub"), "file", True, True)
    assert tub.help == "where, 100% or [not]: it's up to you"
    assert (heat.kind, heat.choices, heat.value) == ("choice", ("low", "high"), "{low,high}")
    assert heat.help == "how hot (default: low)"
    assert (rinse.needs_value, rinse.shown_value) == (False, "[HOST:PORT]")
    assert [(o.value, o.kind, o.needs_value) for o in program.positionals] == [("taskfile", "file", False)]
    assert [group.title for group in program.groups][-1] == "things"


def test_man_page_escapes_what_roff_would_take_for_its_own() -> None:
    text = man_page(small(), PAGE, "1.0")
    assert text.startswith('.TH WASH 1 "" "disBatch 1.0" "User Commands"\n')
    assert "wash \\- washes\n" in text
    assert "\\fB\\-t\\fR \\fIFILE\\fR, \\fB\\-\\-tub\\fR \\fIFILE\\fR\n" in text
    assert "\n\\&.dot first\\e\n" in text
    assert "it\\(aqs up to you" in text
    assert "secret" not in text
    requests = {line.split()[0] for line in text.splitlines() if line.startswith(".")}
    assert requests <= {
        ".TH",
        ".SH",
        ".SS",
        ".TP",
        ".PP",
        ".B",
        ".BR",
        ".nh",
        ".ad",
        ".RS",
        ".RE",
        ".nf",
        ".fi",
    }


def test_scripts_name_each_option_once() -> None:
    zsh = zsh_completion(small(), ["wash", "Wash"])
    assert zsh.startswith("#compdef wash Wash\n")
    assert "'*-t+[where, 100% or \\[not\\]\\: it'\\''s up to you]:FILE:_files'" in zsh
    assert "'(--heat)--heat=[how hot (default\\: low)]:{low,high}:(low high)'" in zsh
    assert "'(--rinse)--rinse=-[.dot first\\\\]::HOST\\:PORT: '" in zsh
    assert "'1::taskfile:_files'" in zsh
    bash = bash_completion(small(), ["wash", "Wash"])
    assert "complete -o filenames -F _wash wash Wash\n" in bash
    assert bash.count("--heat") == 2  # in the list, and for its values


@pytest.mark.parametrize("name", list(programs()))
def test_pages_of_a_program_have_all_its_options(name: str) -> None:
    program, page = programs()[name]
    made = files()
    manual = made[f"share/man/man1/{name.lower()}.1"].replace("\\-", "-")
    bash = made[f"share/bash-completion/completions/{name}"]
    zsh = made[f"share/zsh/site-functions/_{name}"]
    reference = reference_page()
    names = [each for option in program.options for each in option.names]
    assert len(names) > 3
    for each in names:
        assert f"\\fB{each}\\fR" in manual
        assert re.search(rf"[ ']{re.escape(each)}[ ']", bash), each
        assert re.search(rf"[)'*]{re.escape(each)}[=+[]", zsh), each
        assert f"`{each}" in reference
    assert all(option.help for group in program.groups for option in group.options)
    assert page.summary in manual


def test_every_metavar_of_a_path_is_completed_with_files() -> None:
    for program, _ in programs().values():
        for option in program.options:
            if option.value in ("FILE", "PATH", "STATUSFILE", "PREFIX", "COMMAND", "HOST:COUNT"):
                assert option.kind, option


def test_usage_is_one_line_with_all_options() -> None:
    program, _ = programs()["disBatch"]
    assert program.usage.startswith("disBatch [-h]") and "\n" not in program.usage
