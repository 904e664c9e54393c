"""Export for Hugging Face: a directory that transformers loads with its own code, and that can be put on the hub.

The files in `exported/`, which are never imported here, are copied into the directory together with the files of
ASDA/core that the encoder consists of; those use relative imports and torch alone for this reason.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from .... import core
from ....atomic import atomic_path, atomic_writer
from ...checkpoint import Checkpoint
from .. import directory
from . import model_card, preprocessor

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
EXPORTED_FILES = ("configuration_asda.py", "modeling_asda.py", "pipeline_asda.py")
FILES = (*CORE_FILES, *EXPORTED_FILES, preprocessor.CODE, preprocessor.FILE)
"""What is written, beside the files of a directory and the model card."""
PROBLEM_TYPES = {True: "multi_label_classification", False: "single_label_classification"}
"""By `independent_scores`: what transformers computes a loss and scores by."""


def write(folder: Path, checkpoint: Checkpoint, state: dict[str, Any] | None, with_card: bool = True) -> None:
    """Writes a checkpoint as a directory for transformers' Auto classes and pipelines.

    It is the directory of :func:`.directory.write` and can be used as such; code, feature extractor and model card are
    added.

    Args:
        folder: made if it does not exist.
        checkpoint: the model.
        state: see :func:`.directory.write`.
        with_card: whether to write the model card, README.md.
    """
    places = [(Path(core.__file__).parent, CORE_FILES), (Path(__file__).parent / "exported", EXPORTED_FILES)]
    if preprocessor.needs_code(checkpoint):
        places.append((Path(__file__).parent / "exported", (preprocessor.CODE,)))
    for place, names in places:
        for name in names:
            with atomic_path(folder / name) as temporary:
                shutil.copyfile(place / name, temporary)
    preprocessor.write(folder, checkpoint)
    if with_card:
        with atomic_writer(folder / model_card.FILE) as file:
            file.write(model_card.text(checkpoint, state))
    directory.write(folder, checkpoint, state, _config(checkpoint))


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    """What transformers wants to know, beside what :func:`.directory.describe` says."""
    auto_map = {
        "AutoConfig": "configuration_asda.AsdaConfig",
        "AutoModel": "modeling_asda.AsdaModel",
        "AutoModelForAudioClassification": "modeling_asda.AsdaForAudioClassification",
    }
    pipeline = {"impl": "pipeline_asda.AsdaAudioClassificationPipeline", "pt": ["AutoModelForAudioClassification"]}
    config: dict[str, Any] = {
        "architectures": ["AsdaModel" if checkpoint.head_config is None else "AsdaForAudioClassification"],
        "auto_map": auto_map,
        "custom_pipelines": {"audio-classification": {**pipeline, "tf": []}},
    }
    if checkpoint.head_config is None:
        return config
    names = checkpoint.label_names or [f"LABEL_{index}" for index in range(checkpoint.num_classes)]
    return config | {
        "problem_type": PROBLEM_TYPES[checkpoint.independent_scores],
        "id2label": dict(enumerate(names)),
        "label2id": {name: index for index, name in enumerate(names)},
    }
