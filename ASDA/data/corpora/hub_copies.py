"""Copies of known data sets on the Hugging Face hub: what their columns are usually called.

Copies differ: whoever made one has chosen names and splits. The classes, and their order, are those of the data set.
"""

from __future__ import annotations

from dataclasses import dataclass

from .corpus import AUDIOSET, ESC50, FSD50K, SPEECH_COMMANDS_V1_WORDS, SPEECH_COMMANDS_V2, Corpus


@dataclass(frozen=True)
class HubCopy:
    """How copies of a data set say what its clips are.

    Attributes:
        corpus: the data set.
        labels: usual names of the column of labels; the first that is there counts.
        folds: the column of folds.
        left_out: labels of clips that do not belong to the task.
        separator: between several labels in one text.
        weighted: whether the training split gets weights that balance its classes.
    """

    corpus: Corpus
    labels: tuple[str, ...]
    folds: str | None = None
    left_out: frozenset[str] = frozenset()
    separator: str | None = None
    weighted: bool = False


_NO_WORDS = frozenset({"_silence_", "_background_noise_"})

HUB_COPIES = {
    copy.corpus.name: copy
    for copy in (
        HubCopy(AUDIOSET, ("labels", "human_labels"), weighted=True),
        HubCopy(ESC50, ("category", "label", "target"), folds="fold"),
        HubCopy(FSD50K, ("labels", "label"), separator=","),
        HubCopy(SPEECH_COMMANDS_V2, ("label", "labels", "word"), left_out=_NO_WORDS),
        HubCopy(SPEECH_COMMANDS_V1_WORDS, ("label", "labels", "word"), left_out=_NO_WORDS),
    )
}
