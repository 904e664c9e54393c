"""Multi-student self-distillation: the objective of ASDA and EAT (arXiv 2507.02666; arXiv 2401.03497).

Many masked views of a clip (the students, one network) predict what an EMA teacher makes of the whole clip.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..core.encoder import SpectrogramEncoder
from ..core.places import Places
from .ema_teacher import EmaTeacher, LinearDecay
from .losses import channel_stds, layer_average_target, mean_over_patches, summed_regression
from .objective import Decoder, Losses, Objective


class SelfDistillation(Objective):
    """Student, decoder and teacher, and the two losses between them.

    Args:
        encoder: the student, the encoder that is trained.
        decoder: predicts the hidden patches from the kept ones; a module that is a ``Decoder``.
        decay: the teacher's EMA decay as a function of the number of updates.
        average_top_k_layers: how many of the teacher's last layers make the target.
        utterance_weight: alpha, the weight of the utterance loss.
        utterance_clips: the utterance loss is a sum over students, so its weight grows with the clips that a process
            has in a batch; this many clips give it the weight it has with any other number. None: no such correction,
            as published (with 12 clips per process).
        frame_weight: the weight of the frame loss.

    Raises:
        ValueError: ``average_top_k_layers`` exceeds the depth, or the encoder has no prefix token to stand for a clip.
    """

    def __init__(
        self,
        encoder: SpectrogramEncoder,
        decoder: Decoder,
        *,
        decay: Callable[[int], float] | None = None,
        average_top_k_layers: int = 12,
        utterance_weight: float = 0.5,
        utterance_clips: int | None = None,
        frame_weight: float = 1.0,
    ):
        super().__init__()
        if not 1 <= average_top_k_layers <= encoder.depth:
            raise ValueError(
                f"average_top_k_layers ({average_top_k_layers}) must be between 1 and depth ({encoder.depth})"
            )
        if encoder.config.num_prefix_tokens == 0 and utterance_weight:
            raise ValueError("the utterance loss needs a prefix token (CLS); set its weight to 0 for this encoder")
        self.encoder = encoder
        self.decoder = decoder
        self.teacher = EmaTeacher(encoder, decay or LinearDecay())
        self.average_top_k_layers = average_top_k_layers
        self.utterance_weight = utterance_weight
        self.utterance_clips = utterance_clips
        self.frame_weight = frame_weight

    def _apply(self, fn, recurse: bool = True):
        # The teacher follows to another device, but keeps float32 where the student is cast to half precision.
        super()._apply(fn, recurse)
        self.teacher.to(self.encoder.device)
        return self

    def compile_layers(self, **options: Any) -> None:
        """torch.compile for the blocks of student and teacher and the decoder, in place."""
        super().compile_layers(**options)
        self.teacher.encoder.stack.compile_blocks(**options)
        self.decoder.compile_layers(**options)

    def after_update(self, num_updates: int) -> None:
        """The teacher's step towards the student as it is after the update."""
        self.teacher.update(self.encoder, num_updates)
        super().after_update(num_updates)

    @torch.no_grad()
    def target(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """What the teacher makes of the whole clips, (B, 1, T, F), (B, N) True = padding -> (B, N, D), float32."""
        layers = self.teacher.layer_outputs(spectrogram, self.average_top_k_layers, padding_mask)
        return layer_average_target(layers, padding_mask=padding_mask)

    def forward(self, spectrogram: Tensor, mask: Tensor | Places, counts: bool = True) -> Losses:
        """Losses of a batch. Padding is nothing: neither kept, nor predicted, nor in the teacher's target.

        Args:
            spectrogram: (B, 1, T, F).
            mask: (B * M, N), True = hidden, the M students of a clip side by side, or their places, which may have
                padding.
            counts: whether the batch enters the statistics, which are over all processes.

        Returns:
            ``frame`` and ``utterance``, both summed so that dividing by R, the number of hidden patches, gives the mean
            over hidden patches and the sum over students; ``pred_var`` and ``target_var``: channel_stds of predictions
            and targets.
        """
        grid, places = self.encoder.grid(spectrogram), Places.of(mask, len(spectrogram))
        places.check(len(spectrogram), grid.num_patches, may_be_padded=True)
        target = self.target(spectrogram, places.padding)  # (B, N, D)
        # (B*M, X, D), (B*M, K, D)
        prefix, patches = self.encoder(spectrogram, places.padding, places.kept, places.kept_padding)
        predicted = self.decoder(patches, places, grid).float()  # (R, D)
        hidden = places.hide(target)  # (R, D)
        terms = {"frame": self.frame_weight * summed_regression(predicted, hidden)}
        if prefix.shape[1]:
            terms["utterance"] = self._utterance(prefix[:, 0], target, places) * len(hidden)
        rows = (predicted, hidden) if counts else (predicted[:0], hidden[:0])
        statistics = dict(zip(("pred_var", "target_var"), channel_stds(*rows), strict=True))
        return Losses(terms, len(hidden), statistics)

    def _utterance(self, cls_token: Tensor, target: Tensor, places: Places) -> Tensor:
        """The students' CLS (B * M, D) against the mean of the teacher's targets, summed over students."""
        of_clip = mean_over_patches(target, places.padding)[:, 0]
        loss = summed_regression(cls_token, of_clip.repeat_interleave(places.students, dim=0))
        if self.utterance_clips is not None:
            loss = loss * (self.utterance_clips / len(target))
        return self.utterance_weight * loss
