"""Copies of checkpoints that appear whole, in the place of fairseq's (changed_fairseq.py).

fairseq writes a checkpoint under a temporary name and renames it, but then makes checkpoint_last.pt and
checkpoint_best.pt by copying over the old ones. A run that is killed in the middle leaves a torn checkpoint_last.pt,
the file that the next run continues from.
"""

import os
import shutil

PARTIAL_SUFFIX = ".tmp"  # as in fairseq's own atomic save


def copy_atomically(src_path: str, dst_path: str, overwrite: bool = False) -> str:
    """Copies a file; ``dst_path`` is the old file or the complete new one at any time.

    Raises:
        FileExistsError: ``dst_path`` exists and ``overwrite`` is False.
    """
    if not overwrite and os.path.exists(dst_path):
        raise FileExistsError(f"{dst_path} exists")
    partial = f"{dst_path}{PARTIAL_SUFFIX}"
    with open(src_path, "rb") as source, open(partial, "wb") as target:
        shutil.copyfileobj(source, target, 16 * 2**20)
    os.replace(partial, dst_path)
    return dst_path
