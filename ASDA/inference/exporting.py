"""A trained model as one graph without Python: torch.export, and through it ONNX. Clips and time stay free.

torch.export.save(exported_program(load_encoder("model.pt")), "model.pt2")
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..audio.fbank import frame_sizes
from ..audio.front_end_module import FrontEndModule
from ..checkpoints.files import first_line
from ..core.patches import patch_grid, row_padding_mask, whole_rows
from .model import TrainedClassifier, TrainedEncoder

WAVEFORM, SPECTROGRAM = "waveform", "spectrogram"
SOURCES = (WAVEFORM, SPECTROGRAM)
LOGITS, PROBABILITIES, FEATURES, PADDING_MASK = "logits", "probabilities", "features", "padding_mask"
_EXAMPLE_CLIPS = 2


class Graph(nn.Module):
    """What is exported: waveforms or spectrograms of clips of one length -> features and, with a head, scores.

    Args:
        model: an encoder or a classifier, in eval mode.
        source: `waveform`: (B, W) at the front end's rate, cut to its length or filled up as one clip would be;
            `spectrogram`: (B, 1, T, F), normalised.

    Attributes:
        outputs: names of what :meth:`forward` returns, in order. `logits` and `probabilities` (B, C) of a classifier;
            `features` (B, X + N, D), prefix tokens first; `padding_mask` (B, N) of waveforms of a model that was
            trained with one, True behind a clip's end, where features are zeros.

    Raises:
        ValueError: the source is not known; or the front end has no length to bring waveforms to.
    """

    def __init__(self, model: TrainedEncoder, source: str = WAVEFORM):
        super().__init__()
        if source not in SOURCES:
            raise ValueError(f'source "{source}" is not one of {", ".join(SOURCES)}')
        if source == WAVEFORM and model.front_end.target_length_frames is None:
            raise ValueError(
                "the front end has no length that waveforms are brought to: set target_length (--target_length "
                "FRAMES), or export with spectrograms as input"
            )
        self.model = model
        self.source = source
        # The mean is that of the whole waveform, and is gone before it is cut.
        self.front_end_module = FrontEndModule(replace(model.front_end, remove_mean=False))
        self.is_masked = source == WAVEFORM and model.front_end.padding == "mask"
        scores = (LOGITS, PROBABILITIES) if isinstance(model, TrainedClassifier) else ()
        self.outputs = (*scores, FEATURES, *((PADDING_MASK,) if self.is_masked else ()))

    @property
    def lengths(self) -> tuple[int, int | None]:
        """The shortest and the longest input, in samples or frames; None: any."""
        config = self.model.encoder.config
        if self.source == WAVEFORM:
            return frame_sizes(self.model.front_end.sample_rate_hz)[0], None
        (size, _), (stride, _) = config.patches.size, config.patches.stride
        shortest = size if config.columns > 1 else size + stride  # a graph for one patch is not one for several
        return shortest, size + config.max_rows * stride - 1

    def example(self, num_clips: int = _EXAMPLE_CLIPS, length: int | None = None) -> Tensor:
        """An input of noise; by default one that is shorter than the model's own length."""
        front_end, (shortest, longest) = self.model.front_end, self.lengths
        if length is None:
            length = 2 * shortest if longest is None else min(longest, 2 * shortest)
        generator = torch.Generator().manual_seed(length)
        if self.source == WAVEFORM:
            return 0.1 * torch.randn(num_clips, length, generator=generator)
        return torch.randn(num_clips, 1, length, front_end.num_mel_bins, generator=generator)

    def forward(self, source: Tensor) -> tuple[Tensor, ...]:
        encoder, padding_mask = self.model.encoder, None
        if self.source == WAVEFORM:
            spectrogram, padding_mask = self._hear(source)
            length = source.shape[1]
        else:
            spectrogram, length = source, source.shape[2]
        features = encoder.features(spectrogram, padding_mask) * self._one_if_within(length, spectrogram)
        prefix, patches = encoder.split(features)
        found: dict[str, Tensor] = {FEATURES: features}
        if isinstance(self.model, TrainedClassifier):
            logits = self.model.classifier.head(prefix, patches, padding_mask)
            found |= {LOGITS: logits, PROBABILITIES: self.model.scores_of(logits)}
        if padding_mask is not None:
            heard = torch.cat([prefix, patches.masked_fill(padding_mask[..., None], 0.0)], dim=1)
            found |= {PADDING_MASK: padding_mask, FEATURES: heard}
        return tuple(found[name] for name in self.outputs)

    def _hear(self, waveforms: Tensor) -> tuple[Tensor, Tensor | None]:
        """(B, W) -> (B, 1, T, F) and, if the model was trained with one, the padding mask (B, N).

        Waveforms are first brought to T frames, whatever W is, so that nothing behind depends on it. As in
        `TrainedEncoder.embed`, a clip's own frames count.
        """
        front_end = self.model.front_end
        T, patches = front_end.target_length_frames, self.model.encoder.config.patches
        assert T is not None
        size, shift = frame_sizes(front_end.sample_rate_hz)
        num_samples = torch.full((1,), waveforms.shape[1], dtype=torch.int64, device=waveforms.device)
        if front_end.remove_mean:
            waveforms = waveforms - waveforms.sum(dim=1, keepdim=True) / num_samples
        wanted = size + shift * (T - 1)
        spectrogram = self.front_end_module(F.pad(waveforms, (0, wanted))[:, :wanted], num_samples)
        if not self.is_masked:
            return spectrogram[:, None], None
        grid = patch_grid(T, front_end.num_mel_bins, patches)
        num_frames = 1 + torch.div(num_samples - size, shift, rounding_mode="floor")
        rows = whole_rows(num_frames, patches).clamp(max=grid.rows)
        return spectrogram[:, None], row_padding_mask(rows, grid).expand(waveforms.shape[0], -1)

    def _one_if_within(self, length: int, like: Tensor) -> Tensor:
        """1.0, from a table without a second entry: a runtime that checks no shapes fails on another length.

        It would otherwise go on with positions that are none, or with no patch at all.
        """
        shortest, longest = self.lengths
        given = torch.full((1,), length, dtype=torch.int64, device=like.device)
        outside = given < shortest
        if longest is not None:
            outside = outside | (given > longest)
        return like.new_ones(1).index_select(0, outside.long())


def exported_program(model: TrainedEncoder, source: str = WAVEFORM) -> torch.export.ExportedProgram:
    """The graph of a model; its argument and its results are those of :class:`Graph`, and so are the arguments here.

    The number of clips is free, and so is the length, from one frame or patch on; of spectrograms up to the end of
    the position table (a learned table is not interpolated beyond it, as eager code does).

    Raises:
        ValueError: it cannot be exported; with the reason in one line.
    """
    return export_graph(Graph(model, source).eval())


def export_graph(graph: Graph) -> torch.export.ExportedProgram:
    """As :func:`exported_program`, of a graph in eval mode."""
    shortest, longest = graph.lengths
    free: dict[int, Any] = {0: torch.export.Dim("clips", min=1)}
    if longest != shortest:
        name, axis = ("samples", 1) if graph.source == WAVEFORM else ("frames", 2)
        free[axis] = torch.export.Dim(name, min=shortest, max=longest)
    example = graph.example().to(graph.model.encoder.device)
    try:
        with torch.no_grad():
            return torch.export.export(graph, (example,), dynamic_shapes={"source": free})
    except Exception as error:  # of torch's compiler, of any kind
        raise ValueError(f"this model cannot be exported as one graph ({first_line(error)})") from error
