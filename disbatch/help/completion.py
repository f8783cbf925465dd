"""Completion for bash and zsh: plain scripts, which need nothing beside the shell."""

from collections.abc import Sequence

from disbatch.help.model import Option, Program


def bash_completion(program: Program, names: Sequence[str]) -> str:
    """A script that defines completion for the command under all its names."""
    function = "_" + _identifier(program.name)
    words = " ".join(name for option in program.options for name in option.names)
    cases = []
    for option in program.options:
        if option.value:
            cases.append(f"        {'|'.join(option.names)}) {_bash_action(option)} ;;")
    rest = [_bash_words(option) for option in program.positionals]
    return "\n".join(
        [
            f"# bash completion for {program.name}",
            f"{function}() {{",
            "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} IFS=$'\\n'",
            "    COMPREPLY=()",
            "    # bash splits --option=value into three words",
            '    [[ $cur == "=" ]] && cur=""',
            '    [[ $prev == "=" ]] && prev=${COMP_WORDS[COMP_CWORD-2]}',
            "    case $prev in",
            *cases,
            "    esac",
            "    if [[ $cur == -* ]]; then",
            f"        COMPREPLY=($(IFS=' '; compgen -W '{words}' -- \"$cur\"))",
            "    else",
            f"        {rest[-1] if rest else ':'}",
            "    fi",
            "}",
            f"complete -o filenames -F {function} {' '.join(names)}",
            "",
        ]
    )


def zsh_completion(program: Program, names: Sequence[str]) -> str:
    """A file for a folder of $fpath."""
    specs = [_zsh_option(option) for option in program.options]
    for number, option in enumerate(program.positionals, 1):
        place = "*" if option.repeats else f"{number}"
        optional = "" if option.needs_value or option.repeats else ":"
        specs.append(f"'{place}:{optional}{_zsh_text(option.value)}:{_zsh_action(option)}'")
    lines = " \\\n".join(f"    {spec}" for spec in specs)
    return (
        f"#compdef {' '.join(names)}\n# zsh completion for {program.name}\n\n_arguments -s -S \\\n{lines}\n"
    )


def _bash_action(option: Option) -> str:
    """Offers values and returns; a value that may be left out gives way to an option that is begun."""
    leave = "return" if option.needs_value else "[[ $cur == -* ]] || return"
    words = _bash_words(option)
    return leave if words == ":" else f"{words}; {leave}"


def _bash_words(option: Option) -> str:
    """Fills COMPREPLY."""
    if option.value == "STATUSFILE":
        return 'COMPREPLY=($(compgen -G "$cur*_status.txt"; compgen -d -- "$cur"))'
    words = " ".join(option.choices) if option.choices else "localhost:$(nproc)"
    return {
        "file": 'COMPREPLY=($(compgen -f -- "$cur"))',
        "command": 'COMPREPLY=($(compgen -c -- "$cur"))',
        # a word that is no file: its colon must not be escaped
        "host": f'compopt +o filenames; COMPREPLY=($(compgen -W "{words}" -- "$cur"))',
        "choice": f"COMPREPLY=($(IFS=' '; compgen -W '{words}' -- \"$cur\"))",
        "": ":",
    }[option.kind]


def _zsh_option(option: Option) -> str:
    star = "*" if option.repeats else ""
    exclusive = "" if option.repeats else f"({' '.join(option.names)})"
    text = f"[{_zsh_text(option.help)}]"
    value = ""
    if option.value:
        optional = "" if option.needs_value else ":"
        value = f":{optional}{_zsh_text(option.value)}:{_zsh_action(option)}"
    specs = []
    for name in option.names:
        follows = ""
        if option.value:
            follows = "=" if name.startswith("--") else "+"
            if not option.needs_value and name.startswith("--"):
                follows = "=-"
        specs.append(f"'{star}{exclusive}{name}{follows}{text}{value}'")
    return " \\\n    ".join(specs)


def _zsh_action(option: Option) -> str:
    if option.value == "STATUSFILE":
        return '_files -g "*_status.txt"'
    if option.choices:
        return "(" + " ".join(option.choices) + ")"
    actions = {"file": "_files", "command": "_command_names -e", "host": "(localhost\\:$(nproc))"}
    return actions.get(option.kind, " ")


def _zsh_text(text: str) -> str:
    for character in "\\[]:":
        text = text.replace(character, "\\" + character)
    return text.replace("'", "'\\''")


def _identifier(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)
