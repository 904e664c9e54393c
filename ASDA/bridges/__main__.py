"""Runs a program of a host that has to know the bridge before it starts, from the folder where its files are.

python -m ASDA.bridges evar lineareval.py CONFIG.yaml TASK
python -m ASDA.bridges s3prl run_downstream.py -m train -n NAME -u asda -k CHECKPOINT -d TASK
"""

from __future__ import annotations

import importlib
import os
import runpy
import sys

BRIDGES = {"evar": "evar_repr", "s3prl": "s3prl_upstream"}


def main(arguments: list[str]) -> None:
    """Registers the bridge that is named first, and runs the program that follows with what follows it.

    Raises:
        SystemExit: there is no such bridge, program or host, in one line; or the program ends so.
    """
    if len(arguments) < 2 or arguments[0] not in BRIDGES:
        raise SystemExit(f"usage: python -m ASDA.bridges {'|'.join(BRIDGES)} PROGRAM.py [ARGUMENT ...]")
    name, program, *_ = arguments
    if not os.path.isfile(program):
        raise SystemExit(f"{program}: no such program; start this in the folder where {name} has it")
    try:
        importlib.import_module(f"ASDA.bridges.{BRIDGES[name]}").register()
    except ImportError as error:
        raise SystemExit(str(error)) from None
    sys.argv = arguments[1:]
    runpy.run_path(program, run_name="__main__")


if __name__ == "__main__":
    main(sys.argv[1:])
