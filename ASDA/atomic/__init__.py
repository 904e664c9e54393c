"""Files and folders that appear complete or not at all, and what goes with that: devices, locks, a full disk."""

from .files import atomic_binary, atomic_path, atomic_writer, look_for_leftovers_again
from .folders import atomic_folder
from .locks import LockedOutputError, OutputLock
from .names import fitting_name
from .streams import is_stream, signals_held

__all__ = [
    "LockedOutputError",
    "OutputLock",
    "atomic_binary",
    "atomic_folder",
    "atomic_path",
    "atomic_writer",
    "fitting_name",
    "is_stream",
    "look_for_leftovers_again",
    "signals_held",
]
