"""Trained encoders and classifiers as plain torch modules, with the front end that belongs to them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..adaptation.adapting import adapt
from ..audio.fbank import num_frames
from ..audio.front_end import FrontEnd
from ..audio.front_end_module import FrontEndModule
from ..checkpoints.checkpoint import Checkpoint
from ..checkpoints.files import CheckpointError
from ..checkpoints.reading import read_checkpoint
from ..core.classifier import SpectrogramClassifier
from ..core.encoder import SpectrogramEncoder
from ..core.patches import PatchRows
from .attention import ClipAttention, clip_attention
from .audio_input import Audio, read_waveform
from .embedding import Embeddings, embed
from .waveform_batch import Lengths, waveform_batch

Module = TypeVar("Module", bound=nn.Module)


class TrainedEncoder(nn.Module):
    """An encoder and the front end it was trained with.

    Args:
        encoder: the network.
        front_end: waveform -> spectrogram.
    """

    def __init__(self, encoder: SpectrogramEncoder, front_end: FrontEnd):
        super().__init__()
        self.encoder = encoder
        self.front_end_module = FrontEndModule(front_end)

    @property
    def front_end(self) -> FrontEnd:
        """What turns a waveform into the encoder's input; `front_end_module` is the same with gradients."""
        return self.front_end_module.front_end

    def forward(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Features of the last layer: (B, 1, T, F) normalised, (B, N) True = padding -> (B, 1 + N, D), CLS first."""
        return self.encoder.features(spectrogram, padding_mask)

    @torch.no_grad()
    def features(self, audio: Audio, sample_rate_hz: int | None = None) -> Tensor:
        """Features of one clip: (X + N, D), the X prefix tokens (CLS) first.

        Args:
            audio: a file by its path (also one in a container, such as `shard.tar/clip.wav`), an open binary file or
                its bytes; samples, float in [-1, 1] or integers of 8, 16 or 32 bits: (W,), (W, channels) or
                (channels, W), of which the longer axis is time; samples with their rate as `(samples, rate)` or as
                `{"array": samples, "sampling_rate": rate}`.
            sample_rate_hz: of the samples, where they come without it; by default the rate the encoder hears.

        Raises:
            AudioError: the audio cannot be used.
            TypeError: it is nothing of these.
            ValueError: a rate is given for what states its own; the features hold NaN or infinity.
        """
        return _finite(self(self.spectrogram(audio, sample_rate_hz)[None])[0], "features")

    def attention(self, audio: Audio, sample_rate_hz: int | None = None) -> ClipAttention:
        """What every layer attends to in one clip: its maps, what they come to, and numbers; as `asda-look` shows it.

        Arguments and errors as of :meth:`features`.
        """
        return clip_attention(self, audio, sample_rate_hz)

    def embed(
        self,
        waveforms: Tensor,
        lengths: Lengths = None,
        *,
        sample_rate_hz: int | None = None,
        layers: int | Sequence[int] | str | None = None,
        padding: str | None = None,
        long: str = "crop",
        lead_frames: int = 0,
    ) -> Embeddings:
        """Features of a batch of waveforms, per clip and per row of patches, on the encoder's device, with gradients.

        They are those of `asda-extract` for the same clips. Without gradients: under `torch.no_grad()`.

        Args:
            waveforms: (B, W) mono, floats in [-1, 1]; what follows a clip's end does not count.
            lengths: (B,) samples of each clip; None: all W.
            sample_rate_hz: of the waveforms; by default the rate the encoder hears, `front_end.sample_rate_hz`. Others
                are resampled.
            layers: None the last; a number, counted from 1; several, which get an axis behind the clips'; `all` of
                them; `mean`, their mean.
            padding: of clips shorter than the window, see `Windowing`: `constant`, or `mask` (the same as `own`), with
                which a clip gives the same in any batch; None: as the model was trained.
            long: of clips longer than the window: `crop` uses its beginning, with a warning, `windows` all of it,
                window after window.
            lead_frames: of 10 ms, which are put before each clip as padding, fewer than a row is apart from the next:
                its rows are then those that lie so much earlier, so that several calls give rows between the rows.

        Raises:
            AudioError: a clip cannot be used: it is shorter than 25 ms, holds NaN, or is not on the scale of [-1, 1].
            ValueError: another argument does not fit; or the features hold NaN or infinity.
        """
        rate_hz = self.front_end.sample_rate_hz
        samples, num_samples = waveform_batch(waveforms, lengths, sample_rate_hz, rate_hz, self.encoder.device)
        return embed(
            self.encoder,
            self.front_end_module,
            samples,
            num_samples,
            layers=layers,
            padding=padding,
            long=long,
            lead_frames=lead_frames,
        )

    def spectrogram(self, audio: Audio, sample_rate_hz: int | None = None) -> Tensor:
        """The encoder's input for one clip, (1, T, F), on the encoder's device; arguments as of :meth:`features`.

        A model that was trained with a padding mask gets a short clip at its own length, in whole patches.
        """
        front_end = self.front_end
        waveform = read_waveform(audio, front_end.sample_rate_hz, sample_rate_hz)
        spectrogram = front_end(waveform)
        if front_end.padding == "mask" and front_end.target_length_frames is not None:
            rows = PatchRows.of(front_end.target_length_frames, front_end.num_mel_bins, self.encoder.config.patches)
            own = num_frames(len(waveform), front_end.sample_rate_hz)
            spectrogram = spectrogram[: rows.padded_frames(max(1, own))]
        return spectrogram[None].to(self.encoder.device, self.encoder.dtype)


class TrainedClassifier(TrainedEncoder):
    """A fine-tuned encoder with its head, and what is known of its classes.

    Args:
        classifier: the network.
        front_end: waveform -> spectrogram.
        label_names: of the classes, in the order of the head; may be empty.
        multi_label: whether a clip may have several labels; None if unknown.
        independent_scores: scores are sigmoids, one per class; otherwise a softmax over the classes.
    """

    def __init__(
        self,
        classifier: SpectrogramClassifier,
        front_end: FrontEnd,
        label_names: list[str] | None = None,
        multi_label: bool | None = None,
        independent_scores: bool = True,
    ):
        super().__init__(classifier.encoder, front_end)
        self.classifier = classifier
        self.label_names = label_names or []
        self.multi_label = multi_label
        self.independent_scores = independent_scores

    @property
    def num_classes(self) -> int:
        return self.classifier.head.config.num_classes

    def logits(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """(B, 1, T, F) normalised, (B, N) True = padding -> (B, C)."""
        return self.classifier(spectrogram, padding_mask)

    def scores_of(self, logits: Tensor) -> Tensor:
        """Logits -> scores in [0, 1], same shape."""
        return logits.sigmoid() if self.independent_scores else logits.softmax(dim=-1)

    @torch.no_grad()
    def scores(self, audio: Audio, sample_rate_hz: int | None = None) -> Tensor:
        """Scores of one clip: (C,); arguments as of :meth:`features`."""
        logits = self.logits(self.spectrogram(audio, sample_rate_hz)[None]).float()[0]
        return self.scores_of(_finite(logits, "logits"))


def _finite(values: Tensor, what: str) -> Tensor:
    if not torch.isfinite(values).all():
        raise ValueError(f"the {what} hold NaN or infinity; are the model's norm_mean and norm_std right?")
    return values


def load_encoder(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    trust: bool = False,
    adapter: str | Path | None = None,
    revision: str | None = None,
    **front_end: Any,
) -> TrainedEncoder:
    """Loads the encoder of a pre-trained or fine-tuned checkpoint, in eval mode.

    Args:
        path: a file or directory of any layout, or a name on the Hugging Face hub, such as
            `worstchan/EAT-base_epoch30_pretrain` (`@REVISION` behind it pins it); see
            :func:`ASDA.checkpoints.reading.read_checkpoint`.
        device: where to put it.
        trust: see :func:`ASDA.checkpoints.files.load_torch_file`.
        adapter: adapters to put on it; see :func:`ASDA.checkpoints.reading.read_checkpoint`.
        revision: of a name on the hub: a commit, a tag or a branch.
        front_end: settings of FrontEnd that differ from those recorded, e.g. ``target_length_frames=512``.

    Raises:
        CheckpointError: the file cannot be used.
    """
    checkpoint = read_checkpoint(path, trust=trust, adapter=adapter, revision=revision)
    return build_encoder(checkpoint, **front_end).to(device)


def load_classifier(
    path: str | Path,
    *,
    device: str | torch.device = "cpu",
    trust: bool = False,
    adapter: str | Path | None = None,
    revision: str | None = None,
    **front_end: Any,
) -> TrainedClassifier:
    """Loads a fine-tuned checkpoint, in eval mode; arguments as of :func:`load_encoder`.

    Raises:
        CheckpointError: the file cannot be used, or holds no classification head.
    """
    checkpoint = read_checkpoint(path, trust=trust, adapter=adapter, revision=revision)
    return build_classifier(checkpoint, **front_end).to(device)


def build_encoder(checkpoint: Checkpoint, **front_end: Any) -> TrainedEncoder:
    """The encoder that a checkpoint describes, in eval mode."""
    return TrainedEncoder(_encoder(checkpoint), replace(checkpoint.front_end, **front_end)).eval()


def build_classifier(checkpoint: Checkpoint, **front_end: Any) -> TrainedClassifier:
    """The classifier that a checkpoint describes, in eval mode."""
    if checkpoint.head_config is None:
        raise CheckpointError(
            f"{checkpoint.path}: a pre-trained encoder without a classification head; expected a fine-tuned checkpoint"
        )
    encoder, head = _encoder(checkpoint), checkpoint.head_config
    classifier = _built(checkpoint, lambda: SpectrogramClassifier(encoder, head))
    _load(checkpoint, classifier.head, checkpoint.head)
    return TrainedClassifier(
        classifier,
        replace(checkpoint.front_end, **front_end),
        checkpoint.label_names,
        checkpoint.multi_label,
        checkpoint.independent_scores,
    ).eval()


def _encoder(checkpoint: Checkpoint) -> SpectrogramEncoder:
    def build() -> SpectrogramEncoder:
        encoder = SpectrogramEncoder(checkpoint.encoder_config)
        if checkpoint.adaptation:
            adapt(encoder, checkpoint.adaptation)
        return encoder

    encoder = _built(checkpoint, build)
    _load(checkpoint, encoder, {**checkpoint.encoder, **checkpoint.adapters})
    return encoder


def _built(checkpoint: Checkpoint, build: Callable[[], Module]) -> Module:
    """A module whose weights are still to be filled in: drawing them would take longer than reading them."""
    try:
        with _NothingDrawn():
            return build()
    except ValueError as error:
        raise CheckpointError(f"{checkpoint.path}: {error}") from error


class _NothingDrawn(TorchFunctionMode):
    """Leaves new weights as the memory is."""

    _DRAWS = frozenset((nn.init.normal_, nn.init.uniform_, nn.init.kaiming_uniform_, Tensor.normal_, Tensor.uniform_))

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in self._DRAWS:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


def _load(checkpoint: Checkpoint, module: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Gives a module copies of its tensors: those of a checkpoint are maps of its file."""
    # A checkpoint may have been saved in half precision; programs compute in float32 unless told otherwise.
    tensors = {
        name: tensor.to(torch.float32, copy=True, memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }
    damaged = [name for name, tensor in tensors.items() if not _is_finite(tensor)]
    if damaged:
        count = int((~torch.isfinite(tensors[damaged[0]])).sum())
        others = f", and {len(damaged) - 1} more tensors hold such values" if len(damaged) > 1 else ""
        raise CheckpointError(
            f"{checkpoint.path}: {damaged[0]} holds {count} values that are NaN or infinite{others}; the checkpoint is "
            "damaged, or its training had diverged: use an earlier one"
        )
    try:
        module.load_state_dict(tensors, assign=True)
    except RuntimeError as error:
        details = " ".join(str(error).split("\n\t")[1:]) or str(error)  # without the line that names the class
        raise CheckpointError(
            f"{checkpoint.path}: the tensors do not fit the recorded architecture: {details}"
        ) from error


def _is_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity; its extremes tell, in one pass and without a mask."""
    return tensor.numel() == 0 or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())
