"""Runs fairseq's program for training without the noise of its start: `python -m ASDA.fairseq_plugin.start MODULE ...`.

MODULE is run as `python -m MODULE ...` would. A user-dir is imported when fairseq and hydra have already said a lot.
"""

import runpy
import sys
from pathlib import Path

import ASDA

from .run.quiet import ignore_warnings_of_start_up, quieten_before_import


def main() -> None:
    """Becomes the program that the first argument names."""
    if len(sys.argv) < 2:
        raise SystemExit("usage: python -m ASDA.fairseq_plugin.start MODULE [ARGUMENT ...]")
    # fairseq takes a user-dir that is already imported if it is spelt as the package's path is.
    real = str(Path(ASDA.__file__).resolve().parent)
    if real not in ASDA.__path__:
        ASDA.__path__.append(real)
    quieten_before_import()
    ignore_warnings_of_start_up()
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
