"""The known data sets: what naming one implies, said once for recipes, preparation, programs and checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ...audio.front_end import FrontEnd


@dataclass(frozen=True)
class Corpus:
    """A data set's identity.

    Attributes:
        name: key in `CORPORA`, and what `task.dataset` says.
        title: its name in a sentence.
        target_length_frames: clip length in frames of 10 ms.
        norm_mean: mean of the log-mel values. None, as is then the next, where nobody has published it: a run takes the
            checkpoint's, or what `asda-manifest stats` finds as `task.norm_mean` and `task.norm_std`.
        norm_std: their standard deviation.
        num_classes: size of the label set.
        multi_label: True = several labels per clip (mAP), False = exactly one (accuracy).
        num_folds: number of folds for cross-validation; None if it is published in splits.
        class_table: folder of its class table in `data_manifest/`; None if the data set brings its own.
        recipes: the files of `config/recipe/` that belong to it.
        num_clips: how many clips each split is published with, where that is known for certain.
        sample_rate_hz: rate at which the encoder hears it.
    """

    name: str
    title: str
    target_length_frames: int
    norm_mean: float | None
    norm_std: float | None
    num_classes: int
    multi_label: bool
    num_folds: int | None = None
    class_table: str | None = None
    recipes: tuple[str, ...] = ()
    num_clips: Mapping[str, int] = field(default_factory=dict, hash=False)
    sample_rate_hz: int = 16_000

    @property
    def metric(self) -> str:
        """What validation reports and the best checkpoint is chosen by, the higher the better."""
        return metric_of(self.multi_label)

    def statistics(self) -> dict[str, float]:
        """`norm_mean` and `norm_std`; empty where nobody has published them."""
        if self.norm_mean is None or self.norm_std is None:
            return {}
        return {"norm_mean": self.norm_mean, "norm_std": self.norm_std}

    def front_end(self) -> FrontEnd:
        """The front end that goes with the data set; AudioSet's statistics where it has none."""
        from ...audio.front_end import FrontEnd  # here, so that a data set's numbers can be read without loading torch

        return FrontEnd(
            target_length_frames=self.target_length_frames,
            **{**_AUDIOSET_STATISTICS, **self.statistics()},
            sample_rate_hz=self.sample_rate_hz,
        )


def metric_of(multi_label: bool) -> str:
    """The metric of a kind of labels, as validation logs it."""
    return "mAP" if multi_label else "accuracy"


def _folds(*clips: int) -> dict[str, int]:
    """`num_clips` of a data set in folds, from those that each fold evaluates."""
    splits: dict[str, int] = {}
    for fold, number in enumerate(clips, start=1):
        splits |= {f"fold{fold}/train": sum(clips) - number, f"fold{fold}/eval": number}
    return splits


_AUDIOSET_STATISTICS: dict[str, Any] = {"norm_mean": -4.268, "norm_std": 4.569}
_SPEECH_COMMANDS_STATISTICS: dict[str, Any] = {"norm_mean": -6.846, "norm_std": 5.565}
_NO_STATISTICS: dict[str, Any] = {"norm_mean": None, "norm_std": None}

AUDIOSET = Corpus(
    "audioset", "AudioSet", 1024, **_AUDIOSET_STATISTICS, num_classes=527, multi_label=True, class_table="audioset",
    recipes=("AS2M", "AS20K", "AST_AS20K", "MAE_AST_AS20K", "SSAST_AS20K"),
)  # fmt: skip
ESC50 = Corpus(
    "esc50", "ESC-50", 512, norm_mean=-6.627, norm_std=5.359, num_classes=50, multi_label=False, num_folds=5,
    class_table="esc50", recipes=("ESC50", "MAE_AST_ESC50"), num_clips=_folds(*5 * [400]),
)  # fmt: skip
SPEECH_COMMANDS_V2 = Corpus(
    "spcv2", "Speech Commands v2", 128, **_SPEECH_COMMANDS_STATISTICS, num_classes=35, multi_label=False,
    class_table="speechcommands_v2", recipes=("SPCv2", "MAE_AST_SPCv2"),
    num_clips={"train": 84_843, "valid": 9_981, "eval": 11_005},
)  # fmt: skip
# For the task of twelve classes no statistics were published; those of version 2, recorded in the same way, stand in.
# Its numbers of clips are those of all words, and the silence that is cut.
SPEECH_COMMANDS_V1 = Corpus(
    "spcv1", "Speech Commands v1", 128, **_SPEECH_COMMANDS_STATISTICS, num_classes=12, multi_label=False,
    class_table="speechcommands_v1", recipes=("MAE_AST_SPCv1",),
)  # fmt: skip
# Statistics as AAT has them (arXiv 2401.10544).
SPEECH_COMMANDS_V1_WORDS = Corpus(
    "spcv1_words", "Speech Commands v1 (30 words)", 128, norm_mean=-6.7851, norm_std=5.4963, num_classes=30,
    multi_label=False, class_table="speechcommands_v1_words",
    num_clips={"train": 51_088, "valid": 6_798, "eval": 6_835},
)  # fmt: skip
FSD50K = Corpus(
    "fsd50k", "FSD50K", 1024, norm_mean=-7.966, norm_std=4.753, num_classes=200, multi_label=True, recipes=("FSD50K",),
    num_clips={"train": 36_796, "valid": 4_170, "eval": 10_231},
)  # fmt: skip
# Clips of up to 4 s; statistics as AAT has them (arXiv 2401.10544).
URBANSOUND8K = Corpus(
    "urbansound8k", "UrbanSound8K", 400, norm_mean=-4.4520, norm_std=3.9358, num_classes=10, multi_label=False,
    num_folds=10, class_table="urbansound8k", recipes=("UrbanSound8K",),
    num_clips=_folds(873, 888, 925, 990, 936, 823, 838, 806, 816, 837),
)  # fmt: skip
# Clips of 4 s and more, 8 s on average; the window is that of pre-training.
VOXCELEB1 = Corpus(
    "voxceleb1", "VoxCeleb1", 1024, **_NO_STATISTICS, num_classes=1251, multi_label=False,
    recipes=("MAE_AST_VoxCeleb1",), num_clips={"train": 138_361, "valid": 6_904, "eval": 8_251},
)  # fmt: skip
# Turns of 0.6 to 34 s, 4.5 s on average; the window is that of pre-training.
IEMOCAP = Corpus(
    "iemocap", "IEMOCAP", 1024, **_NO_STATISTICS, num_classes=4, multi_label=False, num_folds=5, class_table="iemocap",
    recipes=("MAE_AST_IEMOCAP",), num_clips=_folds(1085, 1023, 1151, 1031, 1241),
)  # fmt: skip
# Statistics as AAT has them (arXiv 2401.10544).
OPENMIC = Corpus(
    "openmic", "OpenMIC-2018", 1024, norm_mean=-4.0147, norm_std=4.0522, num_classes=20, multi_label=True,
    class_table="openmic", num_clips={"train": 14_915, "eval": 5_085},
)  # fmt: skip
# Statistics as AAT has them (arXiv 2401.10544); the splits are the fault-filtered ones.
GTZAN = Corpus(
    "gtzan", "GTZAN", 3000, norm_mean=-3.0709, norm_std=3.4615, num_classes=10, multi_label=False, class_table="gtzan",
    num_clips={"train": 443, "valid": 197, "eval": 290},
)  # fmt: skip

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus
    for corpus in (
        AUDIOSET,
        ESC50,
        SPEECH_COMMANDS_V2,
        SPEECH_COMMANDS_V1,
        SPEECH_COMMANDS_V1_WORDS,
        FSD50K,
        URBANSOUND8K,
        VOXCELEB1,
        IEMOCAP,
        OPENMIC,
        GTZAN,
    )
}


def get_corpus(name: str) -> Corpus:
    """A known data set.

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    if name not in CORPORA:
        raise ValueError(f'unknown data set "{name}", expected one of: {", ".join(CORPORA)}')
    return CORPORA[name]
