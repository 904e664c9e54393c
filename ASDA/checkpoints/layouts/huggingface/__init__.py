"""Export for Hugging Face: a directory that `AutoModel.from_pretrained` loads with its own code.

The files in `exported/`, which are never imported here, are copied into the directory together with the files of
ASDA/core that the encoder consists of; those use relative imports and torch alone for this reason.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .... import core
from ....atomic import atomic_path
from ...checkpoint import Checkpoint
from .. import directory

CORE_FILES = (
    "attention.py",
    "attention_kinds.py",
    "attention_maps.py",
    "block.py",
    "classifier.py",
    "config.py",
    "config_error.py",
    "differential_v2.py",
    "encoder.py",
    "layer_norm.py",
    "patches.py",
    "places.py",
    "positions.py",
    "stack.py",
)
EXPORTED_FILES = ("configuration_asda.py", "modeling_asda.py")
AUTO_MAP = {"AutoConfig": "configuration_asda.AsdaConfig", "AutoModel": "modeling_asda.AsdaModel"}


def write(folder: Path, checkpoint: Checkpoint, state: dict[str, Any] | None) -> None:
    """Writes a checkpoint as a directory for `AutoModel`.

    It is the directory of :func:`.directory.write` and can be used as such; the code is added.

    Args:
        folder: made if it does not exist.
        checkpoint: the model.
        state: see :func:`.directory.write`.
    """
    places = [(Path(core.__file__).parent, CORE_FILES), (Path(__file__).parent / "exported", EXPORTED_FILES)]
    for place, names in places:
        for name in names:
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(place / name, temporary)
    extra: dict[str, Any] = {"architectures": ["AsdaModel"], "auto_map": AUTO_MAP}
    if checkpoint.label_names:
        extra["id2label"] = dict(enumerate(checkpoint.label_names))
        extra["label2id"] = {name: index for index, name in enumerate(checkpoint.label_names)}
    directory.write(folder, checkpoint, state, extra)
