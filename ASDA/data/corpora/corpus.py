"""The known data sets: what naming one implies, said once for recipes, preparation, programs and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
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
        norm_mean: mean of the log-mel values.
        norm_std: their standard deviation.
        num_classes: size of the label set.
        multi_label: True = several labels per clip (mAP), False = exactly one (accuracy).
        num_folds: number of folds for cross-validation; None if it is published in splits.
        class_table: folder of its class table in `data_manifest/`; None if the data set brings its own.
        recipes: the files of `config/recipe/` that belong to it.
        sample_rate_hz: rate at which the encoder hears it.
    """

    name: str
    title: str
    target_length_frames: int
    norm_mean: float
    norm_std: float
    num_classes: int
    multi_label: bool
    num_folds: int | None = None
    class_table: str | None = None
    recipes: tuple[str, ...] = ()
    sample_rate_hz: int = 16_000

    @property
    def metric(self) -> str:
        """What validation reports and the best checkpoint is chosen by, the higher the better."""
        return metric_of(self.multi_label)

    def front_end(self) -> FrontEnd:
        """The front end that goes with the data set."""
        from ...audio.front_end import FrontEnd  # here, so that a data set's numbers can be read without loading torch

        return FrontEnd(
            target_length_frames=self.target_length_frames,
            norm_mean=self.norm_mean,
            norm_std=self.norm_std,
            sample_rate_hz=self.sample_rate_hz,
        )


def metric_of(multi_label: bool) -> str:
    """The metric of a kind of labels, as validation logs it."""
    return "mAP" if multi_label else "accuracy"


_AUDIOSET_STATISTICS: dict[str, Any] = {"norm_mean": -4.268, "norm_std": 4.569}
_SPEECH_COMMANDS_STATISTICS: dict[str, Any] = {"norm_mean": -6.846, "norm_std": 5.565}

AUDIOSET = Corpus(
    "audioset", "AudioSet", 1024, **_AUDIOSET_STATISTICS, num_classes=527, multi_label=True, class_table="audioset",
    recipes=("AS2M", "AS20K", "AST_AS20K", "MAE_AST_AS20K", "SSAST_AS20K"),
)  # fmt: skip
ESC50 = Corpus(
    "esc50", "ESC-50", 512, norm_mean=-6.627, norm_std=5.359, num_classes=50, multi_label=False, num_folds=5,
    class_table="esc50", recipes=("ESC50", "MAE_AST_ESC50"),
)  # fmt: skip
SPEECH_COMMANDS_V2 = Corpus(
    "spcv2", "Speech Commands v2", 128, **_SPEECH_COMMANDS_STATISTICS, num_classes=35, multi_label=False,
    class_table="speechcommands_v2", recipes=("SPCv2", "MAE_AST_SPCv2"),
)  # fmt: skip
# No statistics were published for Speech Commands v1; those of v2, recorded in the same way, stand in.
SPEECH_COMMANDS_V1 = Corpus(
    "spcv1", "Speech Commands v1", 128, **_SPEECH_COMMANDS_STATISTICS, num_classes=12, multi_label=False,
    class_table="speechcommands_v1",
)  # fmt: skip
FSD50K = Corpus(
    "fsd50k", "FSD50K", 1024, norm_mean=-7.966, norm_std=4.753, num_classes=200, multi_label=True, recipes=("FSD50K",)
)  # fmt: skip
# Clips of up to 4 s; no statistics were published, AudioSet's stand in.
URBANSOUND8K = Corpus(
    "urbansound8k", "UrbanSound8K", 400, **_AUDIOSET_STATISTICS, num_classes=10, multi_label=False, num_folds=10,
    class_table="urbansound8k", recipes=("UrbanSound8K",),
)  # fmt: skip

CORPORA: dict[str, Corpus] = {
    corpus.name: corpus for corpus in (AUDIOSET, ESC50, SPEECH_COMMANDS_V2, SPEECH_COMMANDS_V1, FSD50K, URBANSOUND8K)
}


def get_corpus(name: str) -> Corpus:
    """A known data set.

    Raises:
        ValueError: there is none of that name; the message lists those there are.
    """
    if name not in CORPORA:
        raise ValueError(f'unknown data set "{name}", expected one of: {", ".join(CORPORA)}')
    return CORPORA[name]
