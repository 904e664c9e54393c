"""What is wrong with an audio file, in one line."""

from pathlib import Path
from typing import Union

PathLike = Union[str, Path]


class AudioError(Exception):
    """A file (or array) that cannot be used as audio.

    Attributes:
        path: name of the file, as the caller gave it.
        reason: what is wrong with it, in one line.
    """

    def __init__(self, path: PathLike, reason: str):
        # Both arguments reach Exception so that the error survives the pickling between loader processes.
        super().__init__(str(path), reason)
        self.path = str(path)
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class AmplitudeError(AudioError):
    """Samples on a scale that is not audio's: the numbers are there, but what they mean is not."""
