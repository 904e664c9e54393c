"""Multi-student self-distillation: the objective of ASDA and EAT (arXiv 2507.02666; arXiv 2401.03497).

Many masked views of a clip (the students, one network) predict what an EMA teacher makes of the whole clip.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..core.encoder import SpectrogramEncoder
from ..core.places import kept_indices, restore_grid
from .conv_decoder import ConvDecoder2d
from .ema_teacher import EmaTeacher, LinearDecay
from .losses import channel_std, layer_average_target, summed_regression


class SelfDistillation(nn.Module):
    """Student, decoder and teacher, and the two losses between them.

    Args:
        student: the encoder that is trained.
        decoder: predicts all patches from the kept ones.
        decay: the teacher's EMA decay as a function of the number of updates.
        average_top_k_layers: how many of the teacher's last layers make the target.
        utterance_weight: alpha, the weight of the utterance loss.
        utterance_clips: the utterance loss is a sum over students, so its weight grows with the clips that a process
            has in a batch; this many clips give it the weight it has with any other number. None: no such correction,
            as published (with 12 clips per process).
        frame_weight: the weight of the frame loss.
        mask_noise_std: standard deviation of the tokens in the hidden places.

    Raises:
        ValueError: ``average_top_k_layers`` exceeds the depth.
    """

    def __init__(
        self,
        student: SpectrogramEncoder,
        decoder: ConvDecoder2d,
        *,
        decay: Callable[[int], float] | None = None,
        average_top_k_layers: int = 12,
        utterance_weight: float = 0.5,
        utterance_clips: int | None = None,
        frame_weight: float = 1.0,
        mask_noise_std: float = 0.01,
    ):
        super().__init__()
        if not 1 <= average_top_k_layers <= len(student.blocks):
            raise ValueError(
                f"average_top_k_layers ({average_top_k_layers}) must be between 1 and depth ({len(student.blocks)})"
            )
        self.student = student
        self.decoder = decoder
        self.teacher = EmaTeacher(student, decay or LinearDecay())
        self.average_top_k_layers = average_top_k_layers
        self.utterance_weight = utterance_weight
        self.utterance_clips = utterance_clips
        self.frame_weight = frame_weight
        self.mask_noise_std = mask_noise_std

    def _apply(self, fn, recurse: bool = True):
        # The teacher follows to another device, but keeps float32 where the student is cast to half precision.
        super()._apply(fn, recurse)
        self.teacher.to(self.student.cls_token.device)
        return self

    def compile_layers(self) -> None:
        """torch.compile for the blocks of student and teacher and the norms of the decoder, in place."""
        self.student.compile_blocks()
        self.teacher.encoder.compile_blocks()
        self.decoder.activate.compile(dynamic=True)

    @torch.no_grad()
    def target(self, spectrogram: Tensor) -> Tensor:
        """What the teacher makes of the whole clips (B, 1, T, F): (B, N, D), float32."""
        return layer_average_target(self.teacher.layer_outputs(spectrogram, self.average_top_k_layers))

    def forward(self, spectrogram: Tensor, mask: Tensor, counts: bool = True) -> dict[str, Tensor]:
        """Losses of a batch.

        Args:
            spectrogram: (B, 1, T, F).
            mask: (B * M, N), True = hidden, the M students of a clip side by side.
            counts: whether the batch enters the statistics, which are over all processes.

        Returns:
            ``frame`` and ``utterance``: the weighted losses, both summed so that dividing by ``num_masked`` (R, the
            number of masked patches) gives the mean over masked patches and the sum over students;
            ``num_masked``; ``pred_var`` and ``target_var``: channel_std of predictions and targets.
        """
        grid = self.student.grid(spectrogram)
        B, N = spectrogram.shape[0], grid[0] * grid[1]
        if mask.ndim != 2 or mask.shape[1] != N or mask.shape[0] % B:
            raise ValueError(f"expected masks of shape ({B} x students, {N}), got {tuple(mask.shape)}")

        # Indices first: on a GPU they wait for what was started before them.
        kept = kept_indices(mask)  # (B*M, K)
        hidden = mask.flatten().nonzero()[:, 0]  # (R,), places in the B*M*N patches of all students
        M = mask.shape[0] // B
        hidden_of_clip = hidden // (M * N) * N + hidden % N  # (R,), the same places in the B*N patches of the clips

        target = self.target(spectrogram)  # (B, N, D)
        tokens = self.student(spectrogram, kept=kept)  # (B*M, 1+K, D)
        cls_token, patches = tokens[:, 0], tokens[:, 1:]
        filled = restore_grid(patches, kept, N, self.mask_noise_std)  # (B*M, N, D)
        predicted = self.decoder(filled, grid, hidden).float()  # (R, D)

        hidden_target = target.flatten(0, 1).index_select(0, hidden_of_clip)  # (R, D)
        frame = summed_regression(predicted, hidden_target)
        utterance = summed_regression(cls_token, target.mean(dim=1).repeat_interleave(M, dim=0))
        if self.utterance_clips is not None:
            utterance = utterance * (self.utterance_clips / B)
        R = len(hidden)
        return {
            "frame": self.frame_weight * frame,
            "utterance": self.utterance_weight * utterance * R,
            "num_masked": R,
            "pred_var": channel_std(predicted if counts else predicted[:0]),
            "target_var": channel_std(hidden_target if counts else hidden_target[:0]),
        }
