"""What naming a data set implies: clip length, normalisation statistics, number of classes, kind of labels."""

from dataclasses import dataclass

from ...audio.front_end import FrontEnd


@dataclass(frozen=True)
class DatasetPreset:
    """A data set's identity, said once.

    Attributes:
        name: key in `PRESETS`.
        target_length_frames: clip length in frames of 10 ms.
        norm_mean: mean of the log-mel values.
        norm_std: their standard deviation.
        num_classes: size of the label set.
        multi_label: True = several labels per clip (mAP), False = exactly one (accuracy).
        sample_rate_hz: rate at which the encoder hears it.
    """

    name: str
    target_length_frames: int
    norm_mean: float
    norm_std: float
    num_classes: int
    multi_label: bool
    sample_rate_hz: int = 16_000

    def front_end(self) -> FrontEnd:
        """The front end that goes with the data set."""
        return FrontEnd(
            target_length_frames=self.target_length_frames,
            norm_mean=self.norm_mean,
            norm_std=self.norm_std,
            sample_rate_hz=self.sample_rate_hz,
        )


_AUDIOSET_STATISTICS = {"norm_mean": -4.268, "norm_std": 4.569}
_SPEECH_COMMANDS_STATISTICS = {"norm_mean": -6.846, "norm_std": 5.565}

PRESETS: dict[str, DatasetPreset] = {
    preset.name: preset
    for preset in (
        DatasetPreset("audioset", 1024, **_AUDIOSET_STATISTICS, num_classes=527, multi_label=True),
        DatasetPreset("esc50", 512, norm_mean=-6.627, norm_std=5.359, num_classes=50, multi_label=False),
        DatasetPreset("spcv2", 128, **_SPEECH_COMMANDS_STATISTICS, num_classes=35, multi_label=False),
        # No statistics were published for Speech Commands v1; those of v2, recorded in the same way, stand in.
        DatasetPreset("spcv1", 128, **_SPEECH_COMMANDS_STATISTICS, num_classes=12, multi_label=False),
        DatasetPreset("fsd50k", 1024, norm_mean=-7.966, norm_std=4.753, num_classes=200, multi_label=True),
        # Clips of up to 4 s; no statistics were published, AudioSet's stand in.
        DatasetPreset("urbansound8k", 400, **_AUDIOSET_STATISTICS, num_classes=10, multi_label=False),
    )
}


def get_preset(name: str) -> DatasetPreset:
    """The preset of a data set.

    Raises:
        ValueError: no preset of that name; the message lists those there are.
    """
    if name not in PRESETS:
        raise ValueError(f'unknown data set "{name}", expected one of: {", ".join(PRESETS)}')
    return PRESETS[name]
