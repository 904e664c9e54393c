"""Clips of a manifest as batches of spectrograms.

Plain torch; `ASDA.fairseq_plugin.tasks` adds what fairseq's iterators ask for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence

from ..audio.augment import add_noise_and_roll, roll_and_scale
from ..audio.front_end import FrontEnd
from ..audio.io import AudioError
from ..randomness import clip_generator
from .bad_clips import BadClips
from .containers import ClipReader
from .excerpt import excerpt_s, window_s
from .labels import ClipLabels
from .manifest import Manifest
from .padding import MaskedPadding, MaskSampler, PatchRows, join_masks
from .sampling import repetitions, shuffled_order, weighted_order

# Independent random streams of one clip in one epoch. The numbers are part of what makes a run repeatable: never
# renumber them.
_STREAM_CROP, _STREAM_WAVEFORM, _STREAM_SPECTROGRAM, _STREAM_MASK, _STREAM_SEED, _STREAM_REPLACEMENT = range(6)

_MAX_REPLACEMENT_DRAWS = 100

MaskPlaces = Callable[[torch.Tensor, int, Optional[torch.Tensor]], dict[str, torch.Tensor]]


@dataclass(frozen=True)
class Augmentation:
    """Which random changes a training clip goes through.

    Args:
        roll: circular roll and loudness of the waveform.
        noise: noise on the spectrogram and a roll of it along time.
    """

    roll: bool = False
    noise: bool = False


class Heard(NamedTuple):
    """What the model gets of a clip, and how many of its frames are no padding under a mask."""

    source: torch.Tensor
    num_frames: int


class SpectrogramDataset(torch.utils.data.Dataset):
    """Reads the clips of a manifest as normalised log-mel spectrograms.

    Every random draw comes from `clip_generator(seed, epoch, index, stream)`: what a clip looks like in an epoch does
    not depend on workers, on other clips or on whether the run was resumed.

    Args:
        manifest: the clips.
        front_end: waveform to spectrogram; its `target_length_frames` must be set, since a batch needs equal lengths.
        labels: classes of the clips, or None.
        num_classes: C, length of the target vector; by default the label table's.
        mask_sampler: draws the masks (M, N) of a clip, True = hidden from the student; None for no masks. If it has
            an attribute `one_for_batch` that is true, those of a batch's first clip are all its clips'.
        mask_places: turns the masks (B * M, N) of a batch of B clips, and its padding mask (B, N) or None, into
            indices, here in the loader; None: batches hold the masks themselves.
        augmentation: random changes; none by default.
        seed: of every random draw.
        shuffle: whether `ordered_indices` is a new permutation in each epoch, or file order.
        random_crop: take the window of a long clip at a random place, instead of its head.
        max_bad_fraction: share of unreadable clips above which reading stops with `TooManyBadClipsError`.
        replace_bad: put another clip in the place of an unreadable one (training). Otherwise it is left out of its
            batch (evaluation). Either way it is logged once and counted.
        h5_sample_rate_hz: rate of HDF5 data that does not state its own.
        sample_weights: (n,) weights; clips are then drawn with replacement in proportion to them.
        num_draws: clips drawn per epoch with `sample_weights`; the manifest's number of clips by default.
        waveforms: hand out waveforms, for a front end that runs on the training device.
        patch_rows: the patches of the model, for a front end whose padding is ``mask``: batches are then as long as
            their longest clip, and have a padding mask where others are shorter. Masks are drawn on a clip's own
            patches: the sampler has to be a dataclass with ``grid``.
    """

    def __init__(
        self,
        manifest: Manifest,
        front_end: FrontEnd,
        *,
        labels: ClipLabels | None = None,
        num_classes: int = 0,
        mask_sampler: MaskSampler | None = None,
        mask_places: MaskPlaces | None = None,
        augmentation: Augmentation | None = None,
        seed: int = 1,
        shuffle: bool = True,
        random_crop: bool = False,
        max_bad_fraction: float = 0.01,
        replace_bad: bool = True,
        h5_sample_rate_hz: int = 32_000,
        sample_weights: np.ndarray | None = None,
        num_draws: int | None = None,
        waveforms: bool = False,
        patch_rows: PatchRows | None = None,
    ):
        super().__init__()
        self._target_length_frames = _target_length_frames(front_end)
        if (front_end.padding == "mask") != (patch_rows is not None):
            raise ValueError(f"patch_rows belongs to padding=mask, and the front end has padding={front_end.padding}")
        if patch_rows is not None and getattr(mask_sampler, "one_for_batch", False):
            raise ValueError(
                "clips of different lengths cannot share their masks: with padding=mask take task.mask_type=random "
                "instead of random_batched, or set task.padding=constant"
            )
        _check_sizes(manifest, labels, num_classes, sample_weights)
        self.manifest = manifest
        self.front_end = front_end
        self.labels = labels
        self.num_classes = num_classes or (labels.num_classes if labels is not None else 0)
        self.mask_sampler = mask_sampler
        self.mask_places = mask_places
        self._padding = None if patch_rows is None else MaskedPadding(patch_rows, mask_sampler)
        self.augmentation = augmentation or Augmentation()
        if waveforms and self.augmentation.noise:
            raise ValueError(
                "noise=true changes spectrograms, but with fbank_on_device=true the data set hands out waveforms; "
                "turn one of them off"
            )
        self.waveforms = waveforms
        self.seed = seed
        self.shuffle = shuffle
        self.random_crop = random_crop
        self.replace_bad = replace_bad
        self.sample_weights = sample_weights
        self.num_draws = num_draws if num_draws is not None else len(manifest)
        self.reader = ClipReader(front_end.sample_rate_hz, h5_sample_rate_hz)
        self.bad_clips = BadClips(manifest, max_bad_fraction)
        # Shared memory: persistent workers were forked before set_epoch is called, and must see it all the same.
        self._epoch = torch.ones(1, dtype=torch.int64).share_memory_()

    # ---- one clip ----------------------------------------------------------------------------------------------

    def __getitem__(self, index: int) -> dict:
        """One clip.

        Args:
            index: row of the manifest. With n rows, row + n, row + 2n, ... are the same clip drawn again in the same
                epoch: with other random changes.

        Returns:
            `id` int, `source` (1, T, F) float32 (with `waveforms` (W,)), `seed` int64 scalar tensor, `num_unreadable`
            int; `mask` (M, N) bool with a mask sampler, `target` (C,) float32 with labels, see `ClipLabels.multi_hot`.
            With a padding mask `num_frames` int, the frames that are no padding, and N is that of these. Without
            `source` if the clip cannot be read and is not replaced.
        """
        index = int(index)
        clip = index % len(self.manifest)
        readable = self._readable_clip(index)
        if readable is None:
            return {"id": clip, "num_unreadable": 1}
        found, heard = readable
        return {"num_unreadable": int(found != clip), **self._sample(found, heard, index)}

    def _sample(self, clip: int, heard: Heard, index: int) -> dict:
        """A clip's source with what belongs to it, drawn with the random streams of the place `index` that it fills."""
        seed = self._generator(index, _STREAM_SEED).initial_seed() & (2**63 - 1)
        sample: dict[str, Any] = {"id": clip, "source": heard.source, "seed": torch.tensor(seed)}
        mask_sampler = self.mask_sampler
        if self._padding is not None:
            sample["num_frames"] = heard.num_frames
            mask_sampler = self._padding.sampler(heard.num_frames)
        if mask_sampler is not None:
            sample["mask"] = mask_sampler(self._generator(index, _STREAM_MASK))
        if self.labels is not None:
            sample["target"] = torch.from_numpy(self.labels.multi_hot(clip))
        return sample

    def _readable_clip(self, index: int) -> tuple[int, Heard] | None:
        """The clip and what is heard of it, or those of its replacement, or None."""
        candidate = index % len(self.manifest)
        replacements, beside = None, self._rows_beside(candidate)
        for _ in range(_MAX_REPLACEMENT_DRAWS):
            try:
                return candidate, self._source(candidate, index)
            except AudioError as error:
                self.bad_clips.add(candidate, error)
            if not self.replace_bad:
                return None
            replacements = replacements or self._generator(index, _STREAM_REPLACEMENT)
            candidate = beside.start + int(torch.randint(len(beside), (1,), generator=replacements))
        raise AudioError(
            self.manifest.path(index % len(self.manifest)),
            f"unreadable, and so were {_MAX_REPLACEMENT_DRAWS - 1} clips drawn to replace it",
        )

    def _rows_beside(self, clip: int) -> range:
        """The rows that a clip's replacement is drawn from: of its own manifest, so that each keeps its share."""
        parts = self.manifest.parts
        return parts[int(self.manifest.parts_of(np.asarray(clip)))].rows

    def _source(self, clip: int, index: int) -> Heard:
        path = self.manifest.path(clip)
        start_s = self._crop_start_s(path, index) if self.random_crop else 0.0
        return self._heard(self.reader.load(path, start_s, excerpt_s(self._target_length_frames)), index)

    def _heard(self, waveform: torch.Tensor, index: int) -> Heard:
        """The waveform as the model gets it."""
        num_frames = self._target_length_frames
        if self._padding is not None:
            num_frames = self._padding.num_frames(len(waveform), self.front_end.sample_rate_hz)
        if self.augmentation.roll:
            waveform = roll_and_scale(waveform, self._generator(index, _STREAM_WAVEFORM))
        if self.waveforms:
            return Heard(waveform, num_frames)
        spectrogram = self.front_end(waveform)
        if self.augmentation.noise:
            real = add_noise_and_roll(spectrogram[:num_frames], self._generator(index, _STREAM_SPECTROGRAM))
            spectrogram = torch.cat([real, spectrogram[num_frames:]])
        return Heard(spectrogram.unsqueeze(0), num_frames)

    def _crop_start_s(self, path: str, index: int) -> float:
        spare_s = self.reader.probe(path).duration_s - window_s(self._target_length_frames)
        if spare_s <= 0.0:
            return 0.0
        return spare_s * float(torch.rand(1, generator=self._generator(index, _STREAM_CROP)))

    def _generator(self, index: int, stream: int) -> torch.Generator:
        return clip_generator(self.seed, self.epoch, index, stream)

    # ---- batches -----------------------------------------------------------------------------------------------

    def collater(self, samples: list[dict]) -> dict:
        """Joins samples to a batch.

        Returns:
            `id` (B,), `num_unreadable` int, how many of the clips asked for could not be read, and `net_input` with
            `source` (B, 1, T, F); with masks `places`, or `precomputed_mask` (B*M, N); with labels `target` (B, C),
            `num_labels`, their number, and `seeds` (B,), an array. With `waveforms` there are `waveforms` (B, W)
            float64, padded with zeros, and `num_samples` (B,) in the place of `source`. Of several manifests there is
            `num_of_parts`, a list: how many of the clips are of each. Where clips are padded under a mask,
            `padding_mask` (B, N), or the places have it; T, or `padded_frames` beside waveforms, is then that of the
            longest clip, in whole patches.
            B = 0 if no clip of an evaluation batch could be read; {} for no samples.
        """
        if not samples:  # a process whose share of the epoch is a batch shorter than the others'
            return {}
        num_unreadable = sum(sample["num_unreadable"] for sample in samples)
        readable = [sample for sample in samples if "source" in sample]
        counts = {"num_unreadable": num_unreadable, **self._num_of_parts(readable)}
        if readable:
            return {**counts, **self._join(readable)}
        silence = self._heard(torch.zeros(self.front_end.sample_rate_hz), 0)
        return {**counts, **_without_rows(self._join([self._sample(0, silence, 0)]))}

    def _num_of_parts(self, samples: list[dict]) -> dict[str, list[int]]:
        num_parts = len(self.manifest.parts)
        if num_parts == 1:
            return {}
        parts = self.manifest.parts_of(np.array([sample["id"] for sample in samples], dtype=np.int64))
        return {"num_of_parts": np.bincount(parts, minlength=num_parts).tolist()}

    def _join(self, samples: list[dict]) -> dict:
        batch: dict[str, torch.Tensor | int] = {}
        net_input: dict[str, Any] = {}
        sources = [sample["source"] for sample in samples]
        padding_mask, padded_frames = None, self._target_length_frames
        if self._padding is not None:
            lengths = [sample["num_frames"] for sample in samples]
            padding_mask = self._padding.rows.padding_mask(lengths)
            padded_frames = self._padding.rows.padded_frames(max(lengths))
        if self.waveforms:
            # In float64 because fairseq casts float32 tensors of a batch to the training precision, and half precision
            # is too coarse for a waveform.
            batch["waveforms"] = pad_sequence(sources, batch_first=True).double()
            batch["num_samples"] = torch.tensor([len(waveform) for waveform in sources])
            if self._padding is not None:
                batch["padded_frames"] = padded_frames
        else:
            net_input["source"] = torch.stack([source[:, :padded_frames] for source in sources])
        if self.mask_sampler is not None:
            shared = getattr(self.mask_sampler, "one_for_batch", False)
            masks = join_masks([(samples[0] if shared else sample)["mask"] for sample in samples])
            if self.mask_places is not None:
                net_input["places"] = self.mask_places(masks, len(samples), padding_mask)
            else:
                net_input["precomputed_mask"] = masks
        if padding_mask is not None and "places" not in net_input:
            net_input["padding_mask"] = padding_mask
        if self.labels is not None:
            # Arrays and numbers stay on the host, where fairseq takes tensors to the device to be waited for.
            net_input["seeds"] = np.array([int(sample["seed"]) for sample in samples], dtype=np.int64)
            net_input["target"] = torch.stack([sample["target"] for sample in samples])
            net_input["num_labels"] = float(net_input["target"].nansum())
        ids = torch.tensor([sample["id"] for sample in samples], dtype=torch.int64)
        return {"id": ids, "net_input": net_input, **batch}

    # ---- epochs ------------------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Sets the epoch, from 1, that the random draws belong to; reaches workers that are already running."""
        self._epoch[0] = epoch

    def ordered_indices(self) -> np.ndarray:
        """The order of this epoch; depends on the seed and the epoch only."""
        if self.sample_weights is not None:
            draws = weighted_order(self.sample_weights, self.num_draws, self.seed, self.epoch)
            return draws + len(self.manifest) * repetitions(draws)
        if self.shuffle:
            return shuffled_order(len(self.manifest), self.seed, self.epoch)
        return np.arange(len(self.manifest), dtype=np.int64)

    def shares(self) -> list[float]:
        """The share of the drawn clips that each of the manifests has, in the long run; they add up to 1."""
        rows = [part.rows for part in self.manifest.parts]
        if self.sample_weights is None:
            return [len(of_part) / len(self.manifest) for of_part in rows]
        weights = np.array([self.sample_weights[of_part.start : of_part.stop].sum() for of_part in rows])
        return (weights / weights.sum()).tolist()

    def drawn_of_parts(self) -> list[int]:
        """How many clips this epoch draws from each of the manifests."""
        parts = self.manifest.parts_of(self.ordered_indices() % len(self.manifest))
        return np.bincount(parts, minlength=len(self.manifest.parts)).tolist()

    def __len__(self) -> int:
        return len(self.manifest)


def _without_rows(batch: dict) -> dict:
    """A batch of the same shapes and types, but of no clip."""

    def empty(value: Any) -> Any:
        return _without_rows(value) if isinstance(value, dict) else value[:0] if hasattr(value, "shape") else value

    return {key: 0.0 if key == "num_labels" else empty(value) for key, value in batch.items()}


def _target_length_frames(front_end: FrontEnd) -> int:
    if front_end.target_length_frames is None:
        raise ValueError("the front end needs target_length_frames: clips of a batch must have equal lengths")
    return front_end.target_length_frames


def _check_sizes(manifest, labels, num_classes, sample_weights) -> None:
    if labels is not None and len(labels) != len(manifest):
        raise ValueError(f"{len(labels)} clips have labels, but {manifest.file} lists {len(manifest)}")
    if labels is not None and num_classes not in (0, labels.num_classes):
        raise ValueError(f"num_classes is {num_classes}, but the label table has {labels.num_classes} classes")
    if sample_weights is not None and len(sample_weights) != len(manifest):
        raise ValueError(f"{len(sample_weights)} clips have weights, but {manifest.file} lists {len(manifest)}")
