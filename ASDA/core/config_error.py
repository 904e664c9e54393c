"""Refusing values that describe no encoder."""

from __future__ import annotations

from typing import Any

LARGEST_SIZE = 10**9
"""Of anything that is counted in a network: what is beyond it is a mistake, or made to exhaust a machine."""


class ConfigError(ValueError):
    """A value that describes no encoder; the message names the key, what was expected and what was found."""


def choose(key: str, value: Any, known) -> None:
    """Refuses a word that is not one of those known.

    Raises:
        ConfigError: it is not.
    """
    if value not in known:
        raise ConfigError(f'{key}: expected one of {", ".join(known)}, found "{value}"')


def require_positive(key: str, value: Any) -> None:
    """Refuses what is no whole number from 1 to `LARGEST_SIZE`.

    Raises:
        ConfigError: it is not.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{key}: expected a whole number of at least 1, found {value!r}")
    if value > LARGEST_SIZE:
        raise ConfigError(f"{key}: expected a whole number of at most {LARGEST_SIZE}, found {str(value)[:20]}")


def require_shares(key: str, value: Any, ends: bool = True) -> float | tuple[float, ...]:
    """A number from 0 to 1, or a list of such, one for each layer, which becomes a tuple.

    Args:
        key: what is set.
        value: what it is set to.
        ends: whether 0 and 1 themselves are allowed.

    Raises:
        ConfigError: it is nothing of these.
    """
    several = isinstance(value, (list, tuple))
    for number in value if several else (value,):
        is_number = isinstance(number, (int, float)) and not isinstance(number, bool)
        if not is_number or not (0 <= number <= 1 if ends else 0 < number < 1):
            between = "from 0 to 1" if ends else "between 0 and 1"
            raise ConfigError(f"{key}: expected a number {between}, or a list of one for each layer, found {value!r}")
    return tuple(value) if several else value
