"""The argument parser of all programs, and the types of their values."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import TypeVar

from .. import __version__
from ..audio.fbank import FRAME_SHIFT_MS

Number = TypeVar("Number", int, float)

SHELLS = ("bash", "zsh")
"""Those that programs have completions for."""


class _Found(Exception):
    """Carries a parser out of the program that has made it."""


_is_asked_for: ContextVar[bool] = ContextVar("a program's parser, rather than its work, is asked for", default=False)


class SubcommandParser(argparse.ArgumentParser):
    """Takes every long flag with `-` and with `_` between its words: EAT's scripts use the latter."""

    def parse_known_args(self, args=None, namespace=None):
        if _is_asked_for.get():
            raise _Found(self)
        spelled = {name.replace("_", "-"): name for name in self._option_string_actions if name.startswith("--")}
        args = [self._respell(arg, spelled) for arg in (sys.argv[1:] if args is None else args)]
        return super().parse_known_args(args, namespace)

    @staticmethod
    def _respell(arg: str, spelled: dict[str, str]) -> str:
        if not arg.startswith("--"):
            return arg
        name, equals, value = arg.partition("=")
        return spelled.get(name.replace("_", "-"), name) + equals + value


class Parser(SubcommandParser):
    """That of a program: it also says its version."""

    def __init__(self, **options):
        super().__init__(**options)
        self.add_argument("--version", action="version", version=f"%(prog)s {__version__}")

    def add_subparsers(self, **options):
        options.setdefault("parser_class", SubcommandParser)
        return super().add_subparsers(**options)


def parser_of(main: Callable[[list[str]], int]) -> argparse.ArgumentParser:
    """The parser of a program, which its `main` makes and begins with."""
    token = _is_asked_for.set(True)
    try:
        main([])
    except _Found as found:
        return found.args[0]
    finally:
        _is_asked_for.reset(token)
    raise ValueError(f"{main.__module__} has no parser")


def seconds_to_frames(text: str) -> int:
    """`--hop 0.5` -> 50 frames."""
    frames = round(finite(text) * 1000 / FRAME_SHIFT_MS)
    if frames < 1:
        raise argparse.ArgumentTypeError(f"expected at least one frame of {FRAME_SHIFT_MS / 1000:g} s, got {text}")
    return frames


def finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise argparse.ArgumentTypeError(f"expected a finite number, got {text}")
    return value


def positive(text: str) -> int:
    return _at_least(1, int(text), text)


def whole_or_zero(text: str) -> int:
    return _at_least(0, int(text), text)


def not_negative(text: str) -> float:
    return _at_least(0, finite(text), text)


def _at_least(least: int, value: Number, text: str) -> Number:
    if value < least:
        raise argparse.ArgumentTypeError(f"expected a number of at least {least}, got {text}")
    return value


def pair(value_type):
    """The type of NAME=VALUE flags: a tuple of the name and the value."""

    def pair(text: str):
        name, equals, value = text.partition("=")
        if not name or not equals or not value or "/" in name:
            raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
        try:
            return name, value_type(value)
        except ValueError:
            raise argparse.ArgumentTypeError(f"expected a number after {name}=, got {value!r}") from None

    return pair
