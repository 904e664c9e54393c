"""What the page of `asda-demo` asks of a checkpoint: a clip's classes, its time line, what was attended to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..audio.errors import AudioError
from ..audio.fbank import mel_bin_frequencies_hz
from ..checkpoints.checkpoint import Checkpoint
from ..inference.attention import ClipAttention
from ..inference.clips import Clip
from ..inference.model import TrainedClassifier, TrainedEncoder, build_classifier, build_encoder
from ..inference.predictions import Event, Prediction, clip_scores, events, predictions, window_scores
from ..inference.run import run_clips
from ..inference.windows import BadClip, Windowing

MOST_EVENTS_AT_ONCE = 5


@dataclass(frozen=True)
class Heard:
    """What a model made of a clip.

    Attributes:
        duration_s: of the clip.
        frames: its log-mel values (T, F); None of one that is too long to be held.
        predictions: best class first; none of a model without classes.
        events: the time line, in order of time.
        attention: in the first window.
    """

    duration_s: float
    frames: torch.Tensor | None
    predictions: list[Prediction]
    events: list[Event]
    attention: ClipAttention


class Listener:
    """A checkpoint, fine-tuned or pre-trained, that clips are played to.

    Args:
        name: what the page calls it: how the user named it, as folders of runs and of exports are often alike.
        checkpoint: what :func:`ASDA.checkpoints.reading.read_checkpoint` gives.
        names: of its classes; None: those it records, or numbers.
        device: where it computes.

    Raises:
        CheckpointError: it cannot be used.
    """

    def __init__(
        self,
        name: str,
        checkpoint: Checkpoint,
        names: Sequence[str] | None = None,
        device: torch.device | str = "cpu",
    ):
        self.name = name
        self.names: list[str] = []
        self.model: TrainedEncoder
        if checkpoint.head_config is None:
            self.model = build_encoder(checkpoint).to(device)
        else:
            self.names = list(names or checkpoint.class_names)
            self.model = build_classifier(checkpoint).to(device)

    @property
    def num_layers(self) -> int:
        return self.model.encoder.config.stack.depth

    @property
    def frequencies_hz(self) -> torch.Tensor:
        """Of the mel bins it hears, (F,)."""
        front_end = self.model.front_end
        return mel_bin_frequencies_hz(front_end.num_mel_bins, front_end.sample_rate_hz)

    def listen(self, file: str | Path, top_k: int, threshold: float) -> Heard:
        """Hears a file window after window, as `asda-infer --segments` does.

        Args:
            file: of audio.
            top_k: most classes of the clip.
            threshold: a class is in the time line where its score reaches this.

        Raises:
            AudioError: the file cannot be used.
        """
        model, front_end = self.model, self.model.front_end
        clip = Clip(str(file), Path(file).name)  # never a manifest, which would name other files of this machine
        hop = max(1, (front_end.target_length_frames or 2) // 2)
        windowing = Windowing(front_end, hop_frames=hop, patches=model.encoder.config.patches)
        network = model.logits if isinstance(model, TrainedClassifier) else _nothing
        with torch.inference_mode():
            (result,) = run_clips(network, [(0, clip)], windowing, device=model.encoder.device)
        if isinstance(result, BadClip):
            raise AudioError(clip.name, result.reason)
        best, line = [], []
        if isinstance(model, TrainedClassifier):
            scores = window_scores(result, model)
            best = predictions(clip_scores(scores, result), self.names, top_k)
            line = events(scores, result, self.names, MOST_EVENTS_AT_ONCE, threshold)
        return Heard(result.clip.duration_s, result.clip.frames, best, line, model.attention(file))


def _nothing(spectrogram: torch.Tensor, _padding_mask: torch.Tensor | None = None) -> torch.Tensor:
    """The output of a network that has no classes."""
    return spectrogram.new_zeros(len(spectrogram), 0)
