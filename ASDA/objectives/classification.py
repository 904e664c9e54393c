"""Classification: mixup, SpecAugment, label smoothing, BCE or cross-entropy (ASDA, section 3; EAT, section 3.3)."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..audio.augment import draw_mixup_weight, mixup, spec_augment
from ..core.classifier import SpectrogramClassifier
from ..core.encoder import SpectrogramEncoder
from ..core.patches import real_rows
from ..randomness import clip_generator
from .objective import Losses, Objective


@dataclass(frozen=True)
class BatchAugmentation:
    """What happens to a batch while training.

    Attributes:
        spec_augment: mask a band of mel bins and a stretch of frames of each clip.
        mask_ratio: widest mask, as a share of the axis; 0 takes the widths below.
        mel_bins: widest mask in mel bins.
        frames: widest mask in frames; at most the clip.
        mixup: a of Beta(a, a); 0: off.
        mixup_prob: probability that a batch is mixed.
        label_smoothing: share of a target that is spread over all classes.
    """

    spec_augment: bool = False
    mask_ratio: float = 0.2
    mel_bins: int = 25
    frames: int = 200
    mixup: float = 0.0
    mixup_prob: float = 0.9
    label_smoothing: float = 0.0


class Classification(Objective):
    """Trains an encoder with a head, parts of it, or the head alone, on labelled clips.

    Args:
        classifier: encoder and head.
        independent_scores: True: one sigmoid per class, BCE; False: softmax, cross-entropy.
        augmentation: while training.
        trained_parts: modules of the encoder that are in training mode when this is, if not all of them; the others
            stay in evaluation mode. An empty list: a probe, with no gradient through the encoder.
    """

    def __init__(
        self,
        classifier: SpectrogramClassifier,
        *,
        independent_scores: bool,
        augmentation: BatchAugmentation | None = None,
        trained_parts: Sequence[nn.Module] | None = None,
    ):
        super().__init__()
        self.classifier = classifier
        self.independent_scores = independent_scores
        self.augmentation = augmentation or BatchAugmentation()
        # Not as modules of this one: they are the encoder's.
        self.trained_parts = None if trained_parts is None else tuple(trained_parts)

    @property
    def encoder(self) -> SpectrogramEncoder:  # type: ignore[override] # the classifier holds it
        """The encoder, which the classifier holds."""
        return self.classifier.encoder

    def train(self, mode: bool = True) -> Classification:
        super().train(mode)
        if self.trained_parts is not None:
            self.encoder.eval()
            for part in self.trained_parts:
                part.train(mode)
        return self

    def logits(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, 1, T, F), (B, N) True = padding -> (B, C)."""
        with torch.no_grad() if self.trained_parts == () else nullcontext():
            prefix, patches = self.encoder(spectrogram, padding_mask)
        return self.classifier.head(prefix, patches, padding_mask)

    def forward(
        self,
        spectrogram: Tensor,
        target: Tensor,
        seeds: Tensor | np.ndarray | None = None,
        padding_mask: Tensor | None = None,
        num_labels: float | None = None,
    ) -> Losses:
        """Loss of a batch, while training with augmentation.

        Args:
            spectrogram: (B, 1, T, F).
            target: (B, C), 1 for each label of a clip, else 0; NaN where nobody judged whether the clip has the class,
                which then adds nothing to the loss. That needs BCE: with a softmax each class is judged by the others,
                and the loss is NaN.
            seeds: (B,) int64, on the host, what each clip's augmentation is drawn from; needed for training with
                augmentation.
            padding_mask: (B, N), True = padding. SpecAugment masks a share of what is no padding; where one of two
                clips that are mixed has sound, the mixture has.
            num_labels: how many labels all clips have, where the host knows it; mixup keeps their number. None: they
                are counted, for which the host has to wait.

        Returns:
            ``classification``, summed over the clips; ``sample_size`` is the number of positive labels after mixup
            (BCE), or of clips (cross-entropy).
        """
        judged = torch.ones_like(target)
        if self.independent_scores:
            judged = 1 - target.isnan().to(target.dtype)
            target = target.where(judged > 0, 0.0)
        if self.training:
            spectrogram, target, judged, padding_mask = self._augment(spectrogram, target, judged, seeds, padding_mask)
        logits = self.logits(spectrogram, padding_mask).float()
        smoothed = self._smooth(target.float(), judged.float())
        if self.independent_scores:
            loss = judged_bce(logits, smoothed, judged.float())
            sample_size = max(float(target.sum()) if num_labels is None else num_labels, min(len(target), 1.0))
            scores = logits.detach().sigmoid()
        else:
            loss = -(smoothed * logits.log_softmax(dim=1)).sum()
            sample_size = target.shape[0]
            scores = logits.detach().softmax(dim=1)
        known = target.masked_fill(judged == 0, float("nan"))
        return Losses({"classification": loss}, sample_size, {"_scores": scores, "_targets": known})

    def _augment(
        self,
        spectrogram: Tensor,
        target: Tensor,
        judged: Tensor,
        seeds: Tensor | np.ndarray | None,
        padding_mask: Tensor | None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
        how = self.augmentation
        if not (how.spec_augment or how.mixup > 0):
            return spectrogram, target, judged, padding_mask
        if seeds is None:
            raise ValueError("training with SpecAugment or mixup needs the clips' seeds (see SpectrogramDataset)")
        if how.spec_augment:
            spectrogram = self._spec_augment(spectrogram, seeds, padding_mask)
        if how.mixup > 0:
            # The whole batch is mixed with one weight, so the batch's first clip decides it.
            weight = draw_mixup_weight(clip_generator(int(seeds[0]), 1), how.mixup, how.mixup_prob)
            # Mixed like a label, `judged` is the share of the mixture that somebody judged for the class.
            spectrogram, labels = mixup(spectrogram, torch.cat([target, judged], dim=1), weight)
            target, judged = labels.chunk(2, dim=1)
            if padding_mask is not None and weight != 1.0:
                padding_mask = padding_mask & padding_mask.flip(0)
        return spectrogram, target, judged, padding_mask

    def _spec_augment(self, spectrogram: Tensor, seeds: Tensor | np.ndarray, padding_mask: Tensor | None) -> Tensor:
        how, (frames, mel_bins) = self.augmentation, spectrogram.shape[2:]
        num_frames = None if padding_mask is None else self._num_frames(spectrogram, padding_mask)
        lengths = torch.tensor(frames) if num_frames is None else num_frames
        if how.mask_ratio > 0:
            bins, stretch = int(how.mask_ratio * mel_bins), (how.mask_ratio * lengths.double()).long()
        else:  # at most all of a short clip
            bins, stretch = min(how.mel_bins, mel_bins), lengths.clamp(max=how.frames)
        return spec_augment(spectrogram, seeds, bins, stretch, num_frames)

    def _num_frames(self, spectrogram: Tensor, padding_mask: Tensor) -> Tensor:
        """Frames of each clip in whole patches, without the padding: (B,)."""
        grid, patches = self.encoder.grid(spectrogram), self.encoder.config.patches
        rows = real_rows(padding_mask.cpu(), grid)
        frames = patches.size[0] + (rows - 1) * patches.stride[0]
        return torch.where(rows == grid.rows, spectrogram.shape[2], frames)

    def _smooth(self, target: Tensor, judged: Tensor) -> Tensor:
        smoothing = self.augmentation.label_smoothing if self.training else 0.0
        return target * (1.0 - smoothing) + judged * (smoothing / target.shape[1]) if smoothing > 0 else target


def judged_bce(logits: Tensor, target: Tensor, judged: Tensor) -> Tensor:
    """Binary cross-entropy of what was judged, summed over clips and classes.

    BCE is linear in the target, so that of a mixture of two clips, with the shares w and 1 - w, is w times that of the
    first one's label and 1 - w times that of the second's. Where only one of the two was judged, only its part counts.

    Args:
        logits: (B, C).
        target: (B, C), the share of a clip that has the class, no more than ``judged``.
        judged: (B, C), the share that was judged for it: 1 or 0, or of a mixture between.
    """
    share = target / judged.where(judged > 0, 1.0)
    return F.binary_cross_entropy_with_logits(logits, share, weight=judged, reduction="sum")
