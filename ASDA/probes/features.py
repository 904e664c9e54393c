"""Features of frozen encoders for probes: every clip goes through a network once, whatever asks for it later."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional

import numpy as np
import torch
from torch import Tensor

from .. import __version__
from ..checkpoints.adapters import encoder_checksum
from ..core.classifier import POOLINGS
from ..core.encoder import SpectrogramEncoder
from ..inference import TrainedEncoder
from ..inference.clips import Clip
from ..inference.features import check_layers, layer_outputs
from ..inference.run import ClipResult, run_clips
from ..inference.windows import BadClip, Windowing
from .cache import ClipChecksums, FeatureCache, missing


@dataclass(frozen=True)
class FeatureSettings:
    """How clips become features.

    Attributes:
        pooling: a name in POOLINGS; None keeps the patches as they are.
        padding: of clips shorter than the window; None: as the checkpoint was trained.
        all_windows: clips longer than the window are heard to their end; their pooled windows are averaged, weighted by
            the frames heard.
        half: compute in half precision.
        batch_size: windows in a batch.
        num_workers: threads that decode.
        processes: they are processes instead.
        h5_sample_rate_hz: of HDF5 data that does not say.
    """

    pooling: Optional[str] = "mean"
    padding: Optional[str] = None
    all_windows: bool = False
    half: bool = False
    batch_size: int = 16
    num_workers: int = 2
    processes: bool = False
    h5_sample_rate_hz: int = 32_000

    def windowing(self, encoder: TrainedEncoder) -> Windowing:
        """How clips are cut for an encoder."""
        padding = self.padding or encoder.front_end.padding
        windowing = Windowing(encoder.front_end, padding, patches=encoder.encoder.config.patches)
        return replace(windowing, hop_frames=windowing.gapless_hop_frames) if self.all_windows else windowing


@dataclass
class FeatureSource:
    """Gives the features of clips, from the cache where they are there.

    Attributes:
        folder: of the cache.
        settings: how clips become features.
        progress: wraps the results as they come, given how many there will be.
        bad: clips that could not be used, by their path.
        num_frames: length of the others, by their path.
        checksums: of the clips.
    """

    folder: Path
    settings: FeatureSettings
    progress: Callable[[Iterable[Any], int], Iterable[Any]] = lambda results, total: results
    bad: dict[str, BadClip] = field(default_factory=dict)
    num_frames: dict[str, int] = field(default_factory=dict)
    checksums: ClipChecksums = field(default_factory=ClipChecksums)

    def features(self, encoder: TrainedEncoder, layers: Sequence[int], clips: Sequence[Clip]) -> dict[str, np.ndarray]:
        """(rows, L, D) for each path: one row of a pooled clip, else one for each patch. Bad clips are left out.

        Args:
            encoder: the network.
            layers: counted from 1.
            clips: which.

        Raises:
            ValueError: the pooling asks for what the encoder lacks; a layer that it does not have.
        """
        check_pooling(encoder.encoder, self.settings.pooling)
        check_layers(encoder.encoder, layers)
        # Pooled, all layers are kept, so that other layers need no other run; patches would take too much room.
        kept = tuple(layers) if self.settings.pooling is None else tuple(range(1, encoder.encoder.depth + 1))
        places = [kept.index(layer) for layer in layers]
        cache = FeatureCache(self.folder, self._identity(encoder, kept))
        clips = list({clip.path: clip for clip in clips if clip.path not in self.bad}.values())
        checksums = [self.checksums.of(clip.path) for clip in clips]
        failed = self._compute(encoder, kept, clips, checksums, cache)
        features = {}
        for clip, key in zip(clips, checksums, strict=True):
            if key in failed:
                self.bad[clip.path] = replace(failed[key], index=len(self.bad), clip=clip)
            else:
                self.num_frames[clip.path] = cache.num_frames[key]
                features[clip.path] = cache[key] if kept == tuple(layers) else cache[key][:, places]
        return features

    def _compute(
        self,
        encoder: TrainedEncoder,
        layers: Sequence[int],
        clips: Sequence[Clip],
        checksums: Sequence[str],
        cache: FeatureCache,
    ) -> dict[str, BadClip]:
        """Puts the features that are not in the cache there; gives the clips that have none by their checksum."""
        wanted = missing(cache, checksums)
        results = run_clips(
            lambda source, mask: pooled_layers(encoder.encoder, source, mask, layers, self.settings.pooling),
            ((place, clips[place]) for place in wanted),
            self.settings.windowing(encoder),
            device=encoder.encoder.device,
            batch_size=self.settings.batch_size,
            half=self.settings.half,
            num_workers=self.settings.num_workers,
            processes=self.settings.processes,
            h5_sample_rate_hz=self.settings.h5_sample_rate_hz,
        )
        failed: dict[str, BadClip] = {}
        try:
            for result in self.progress(results, len(wanted)):
                if isinstance(result, BadClip):
                    failed[checksums[result.index]] = result
                else:
                    cache.put(checksums[result.clip.index], self._joined(result), result.clip.num_frames)
        finally:
            cache.flush()
        return failed

    def _identity(self, encoder: TrainedEncoder, layers: Sequence[int]) -> dict[str, Any]:
        windowing = self.settings.windowing(encoder)
        return {
            "version": __version__,
            "weights": encoder_checksum(encoder.encoder.state_dict()),
            "encoder": encoder.encoder.config.to_dict(),
            "front_end": windowing.front_end.to_dict(),
            "padding": windowing.padding,
            "hop_frames": windowing.hop_frames,
            "pooling": self.settings.pooling,
            "layers": list(layers),
            "half": self.settings.half,
            "h5_sample_rate_hz": self.settings.h5_sample_rate_hz,
        }

    def _joined(self, result: ClipResult) -> np.ndarray:
        """Windows of a clip -> (rows, L, D)."""
        outputs = [output.transpose(0, 1) for output in result.outputs]  # (rows, L, D)
        if self.settings.pooling is None:
            columns = result.clip.windowing.grid(result.clip.windowing.window_frames).columns
            rows = [window.num_rows for window in result.clip.windows]  # without what only its batch was padded to
            return torch.cat([output[: r * columns] for output, r in zip(outputs, rows, strict=True)]).numpy()
        heard = torch.tensor([float(window.heard_frames) for window in result.clip.windows])
        weights = (heard / heard.sum())[:, None, None, None]
        return (torch.stack(outputs) * weights).sum(dim=0).numpy() if len(outputs) > 1 else outputs[0].numpy()


def check_pooling(encoder: SpectrogramEncoder, pooling: Optional[str]) -> None:
    """Refuses a pooling of prefix tokens that the encoder does not have.

    Raises:
        ValueError: it is one.
    """
    if pooling not in (None, "mean") and encoder.config.num_prefix_tokens == 0:
        raise ValueError(f"--pooling {pooling}: this encoder has no prefix tokens (CLS); take --pooling mean")


def pooled_layers(
    encoder: SpectrogramEncoder,
    source: Tensor,
    padding_mask: Optional[Tensor],
    layers: Sequence[int],
    pooling: Optional[str],
) -> Tensor:
    """Features of layers for a batch (B, 1, T, F): (B, L, 1, D) pooled, or the patches (B, L, N, D)."""
    outputs = layer_outputs(encoder, source, padding_mask, layers)
    result = []
    for layer in layers:
        prefix, patches = encoder.split(outputs[layer].float())
        result.append(patches if pooling is None else POOLINGS[pooling](prefix, patches, padding_mask)[:, None])
    return torch.stack(result, dim=1)
