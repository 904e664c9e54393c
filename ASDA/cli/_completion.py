"""Completion of the programs' words in bash and zsh: scripts made of the parsers themselves.

source <(asda-info --completion bash)
"""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple

from ..launch.composing import PROJECT
from ._parser import parser_of

PROGRAMS = {
    "asda-manifest": "manifest",
    "asda-extract": "extract",
    "asda-infer": "infer",
    "asda-eval": "evaluate",
    "asda-convert": "convert",
    "asda-info": "info",
    "asda-look": "look",
    "asda-probe": "probe",
    "asda-plot": "plot",
    "asda-runs": "runs",
    "asda-ablate": "ablate",
    "asda-average": "average",
    "asda-demo": "demo",
}
"""The modules of those that have a parser; asda-train takes words of its own."""

_BASH = """\
# Completion of the asda programs; made by asda-info --completion bash
_asda() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" program="${{COMP_WORDS[0]##*/}}"
    local command="" offered="" values="" i
    if [[ "$word" == "=" ]]; then  # bash takes FLAG=VALUE for three words
        word=""
    elif [[ "$before" == "=" ]]; then
        before="${{COMP_WORDS[COMP_CWORD-2]}}"
    fi
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$program ${{COMP_WORDS[i]}}" in
{commands}
        esac
    done
    case "$program $command" in
{words}
    esac
    case "$program $command $before" in
{values}
    esac
    COMPREPLY=()
    if [[ -n "$values" ]]; then
        COMPREPLY=($(compgen -W "$values" -- "$word"))
    elif [[ "$word" == -* ]]; then
        COMPREPLY=($(compgen -W "$offered" -- "$word"))
    elif [[ -z "$command" ]]; then
        COMPREPLY=($(compgen -W "$(printf '%s\\n' $offered | grep -v '^-')" -- "$word"))
    fi
    [[ "${{COMPREPLY[0]}}" == *= ]] && compopt -o nospace 2>/dev/null
}}
complete -o default -F _asda {programs}
"""
# Its own completion rather than bash's in it (bashcompinit), where FLAG=VALUE is one word, and the space behind FLAG=
# cannot be left out.
_ZSH = """\
# Completion of the asda programs; made by asda-info --completion zsh
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit -i }}
_asda() {{
    local word="$words[CURRENT]" before="$words[CURRENT-1]" program="${{words[1]:t}}"
    local command="" offered="" values="" found=0 i
    local -a candidates
    for ((i = 2; i < CURRENT; i++)); do
        case "$program ${{words[i]}}" in
{commands}
        esac
    done
    case "$program $command" in
{words}
    esac
    if [[ "$word" == [-+]*=* ]]; then
        before="${{word%%=*}}"
        compset -P '*='
    fi
    case "$program $command $before" in
{values}
    esac
    if [[ -n "$values" ]]; then
        compadd -- ${{=values}}
        return
    elif [[ "$word" == [-+]*=* ]]; then
        candidates=()
    elif [[ "$word" == -* ]]; then
        candidates=(${{=offered}})
    elif [[ -z "$command" ]]; then
        candidates=(${{${{=offered}}:#-*}})
    fi
    compadd -S '' -- ${{(M)candidates:#*=}} && found=1
    compadd -- ${{candidates:#*=}} && found=1
    (( found )) || _files
}}
compdef _asda {programs}
"""
_SHELLS = {"bash": _BASH, "zsh": _ZSH}


class _Words(NamedTuple):
    """What may stand behind a program and its sub-command: words, and for a flag the values it may have."""

    program: str
    command: str
    words: tuple[str, ...]
    values: dict[str, tuple[str, ...]]


def completion_script(shell: str) -> str:
    """The script that a shell reads."""
    found = [words for program, module in PROGRAMS.items() for words in _of_program(program, module)]
    found.append(_of_training())
    commands = [words for words in found if words.command]
    return _SHELLS[shell].format(
        commands="\n".join(
            f'            {_pattern(of.program, of.command)}) command="{of.command}" && break ;;' for of in commands
        ),
        words="\n".join(
            f"        {_pattern(of.program, of.command)}) offered={shlex.quote(' '.join(of.words))} ;;" for of in found
        ),
        values="\n".join(
            f"        {_pattern(of.program, of.command, flag)}) values={shlex.quote(' '.join(values))} ;;"
            for of in found
            for flag, values in of.values.items()
        ),
        programs=" ".join(sorted({of.program for of in found})),
    )


def _pattern(*words: str) -> str:
    return f'"{" ".join(words)}"'


def _of_program(program: str, module: str) -> Iterator[_Words]:
    parser = parser_of(import_module(f".{module}", __package__).main)
    commands = _commands(parser)
    yield _of_parser(program, "", parser, tuple(commands))
    for name, of_command in commands.items():
        yield _of_parser(program, name, of_command, ())


def _commands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        name: command
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name, command in action.choices.items()
    }


def _of_parser(program: str, command: str, parser: argparse.ArgumentParser, others: tuple[str, ...]) -> _Words:
    flags = [flag for action in parser._actions for flag in action.option_strings if action.help != argparse.SUPPRESS]
    values = {
        flag: tuple(map(str, action.choices))
        for action in parser._actions
        if action.choices and not isinstance(action, argparse._SubParsersAction)
        for flag in action.option_strings
    }
    return _Words(program, command, (*others, *flags), values)


def _of_training() -> _Words:
    """The yamls, their recipes and sizes."""
    config = PROJECT / "config"
    groups = {"+recipe": config / "recipe", "+size": config / "size"}
    values = {flag: tuple(sorted({file.stem for file in folder.rglob("*.yaml")})) for flag, folder in groups.items()}
    configs = (file.stem for file in sorted(config.glob("*.yaml")))
    words = (*configs, *values["+recipe"], "+recipe=", "+size=", "--help", "--plan", "--version")
    return _Words("asda-train", "", words, values)
