"""What the registered models share: an objective behind fairseq's and EAT's interfaces.

A new objective is a config dataclass and a subclass with ``build_objective``; autocast, what follows an update, the
floors of the statistics and features are the same for all.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from ...adaptation.parameter_groups import exclude_from_decay
from ...checkpoints.layouts.published_architecture import UnknownLayoutError, infer_architecture, keys_of_config
from ...checkpoints.layouts.published_names import split_published
from ...core.config import EncoderConfig
from ...core.encoder import SpectrogramEncoder
from ...objectives.objective import Losses, Objective
from ..eat_keys import reject_unsupported
from .encoder_keys import Autocast, is_complete, record_encoder
from .published_state import PublishedState


class CollapseError(RuntimeError):
    """The predictions or the targets have become (nearly) the same for every patch."""


class ObjectiveModel(PublishedState, BaseFairseqModel):
    """A registered model around an objective.

    Some checkpoints leave the architecture to their tensors. A model that is made to load one has no parameters until
    it does; a model that has parameters never replaces them, as whoever trains it has wrapped, cast and counted them.

    Args:
        cfg: the merged config.
        encoder: the architecture; None: what the tensors of the checkpoint say that is going to be loaded.
    """

    config_class: type
    objective: Objective | None

    def __init__(self, cfg: Any, encoder: EncoderConfig | None):
        super().__init__()
        self.cfg = cfg
        self.num_updates = 0
        self.statistics: dict[str, Any] = {}  # of the last batch: tensors that nobody has waited for
        self._compiles, self._lengths_vary = False, False
        self.objective = None
        reject_unsupported(self.config_class, cfg, "model", training=False)
        if encoder is not None:
            self._build(encoder)

    @classmethod
    def build_model(cls, cfg: Any, task: Any = None) -> ObjectiveModel:
        """Called by fairseq; a task says with ``builds_from_checkpoint`` that a checkpoint is about to be loaded."""
        open_until_loaded = getattr(task, "builds_from_checkpoint", False) and not is_complete(cfg.encoder)
        return cls(cfg, None if open_until_loaded else cls.architecture(cfg))

    @classmethod
    def architecture(cls, cfg: Any) -> EncoderConfig | None:
        """The architecture that a config describes; None if it leaves it to the tensors of a checkpoint."""
        raise NotImplementedError

    def build_objective(self, encoder: EncoderConfig) -> Objective:
        """The objective that the config describes, around an encoder of this architecture."""
        raise NotImplementedError

    def recorded_architecture(self, tensors: dict[str, Tensor]) -> EncoderConfig:
        """The architecture of a checkpoint, from this model's config and the encoder's tensors."""
        raise NotImplementedError

    def _build(self, encoder: EncoderConfig) -> None:
        self.objective = self.build_objective(encoder)
        record_encoder(self.cfg, encoder.to_dict())
        self.group_parameters()
        if self._compiles:
            self._compile(self.objective)
        self.objective.train(self.training)

    def compile_layers(self, lengths_vary: bool) -> None:
        """torch.compile for a run, as ``model.compile_mode`` says, in place.

        Args:
            lengths_vary: whether batches differ in the length of their clips.
        """
        self._compiles, self._lengths_vary = True, lengths_vary
        if self.objective is not None:
            self._compile(self.objective)

    def _compile(self, objective: Objective) -> None:
        # Layers share their code: a full batch and an epoch's last one, training and validating, with and without
        # gradients, of student and teacher, and all of it again for a layer with a constant of its own. torch takes
        # more than eight for a mistake and compiles nothing any more.
        limits = torch._dynamo.config
        limits.recompile_limit = max(limits.recompile_limit, 8 * objective.encoder.depth)
        objective.compile_layers(dynamic=self._lengths_vary, mode=self.cfg.compile_mode.value)

    def group_parameters(self) -> None:
        """Puts the parameters into the optimiser's groups."""
        exclude_from_decay(self, self.cfg.no_decay_group)

    def require_objective(self) -> Objective:
        """The objective.

        Raises:
            RuntimeError: the architecture is still open.
        """
        if self.objective is None:
            raise RuntimeError(
                "model.attention=auto: the tensors of a checkpoint say what the network is; load one first, or set "
                "model.attention=differential (ASDA) or plain (EAT)"
            )
        return self.objective

    @property
    def encoder(self) -> SpectrogramEncoder:
        """The encoder; an error while the architecture is open."""
        return self.require_objective().encoder

    def reject_unsupported(self) -> None:
        """Raises ValueError if the config asks for training that is not implemented."""
        reject_unsupported(self.config_class, self.cfg, "model", training=True)

    # -- checkpoints

    def encoder_tensors(self, state_dict: dict) -> dict[str, Tensor]:
        """The encoder's part of a checkpoint of this model, under the encoder's own names."""
        return split_published(state_dict)["encoder"]

    def load_state_dict(self, state_dict: dict, strict: bool = True, model_cfg: Any = None, args: Any = None):
        """Loads a checkpoint's tensors into the parameters that are there.

        Raises:
            ValueError: the tensors are those of another architecture.
        """
        tensors = self.encoder_tensors(state_dict)
        if self.objective is None:
            self._build(self.recorded_architecture(tensors))
        elif strict:
            _require_same(self.encoder.config, tensors)
        return super().load_state_dict(dict(state_dict), strict, model_cfg, args)

    # -- training

    def autocast(self, source: Tensor):
        """The precision that ``model.autocast`` asks for, as a context."""
        bf16 = self.cfg.autocast is Autocast.bf16
        return torch.autocast(source.device.type, torch.bfloat16) if bf16 else nullcontext()

    def losses(self, source: Tensor, **batch: Any) -> Losses:
        """The objective's losses of a batch."""
        with self.autocast(source):
            losses = self.require_objective()(source, **batch)
        self.statistics = {name: value for name, value in losses.statistics.items() if not name.startswith("_")}
        return losses

    def set_num_updates(self, num_updates: int) -> None:
        """Told by the trainer how many updates are done; the objective follows each new one.

        fairseq says N when a checkpoint of update N is loaded, at the start of each step, and (through the task) right
        after each update. Only what is news to the objective is an update. fairseq would look through all modules for
        others to tell, each time; there are none.
        """
        if self.objective is not None:
            loading = self.num_updates == 0 and num_updates > 1
            if num_updates > self.objective.num_updates and not loading:
                self.objective.after_update(num_updates)
            self.objective.num_updates = num_updates
        self.num_updates = num_updates

    def skip_update(self, num_updates: int) -> None:
        """Told by the task that update ``num_updates`` left the network as it was: nothing follows from it."""
        self.objective.num_updates = self.num_updates = num_updates

    def check_floors(self, statistics: dict[str, float]) -> None:
        """Looks whether statistics of a batch, read from the device, are above their floors ``model.min_NAME``.

        Raises:
            CollapseError: one is not.
        """
        if not self.training or self.num_updates < self.cfg.get("collapse_after_updates", float("inf")):
            return
        for name, value in statistics.items():
            floor = self.cfg.get(f"min_{name}") or 0.0
            if floor > 0.0 and value < floor:
                raise CollapseError(
                    f"{name} is {value:.4g} at update {self.num_updates}, under its floor "
                    f"model.min_{name}={floor}: the representation has collapsed. Resume from an older checkpoint with "
                    "a lower learning rate or a slower teacher, or lower the floor (the monitor looks after "
                    f"model.collapse_after_updates={self.cfg.collapse_after_updates} updates)"
                )

    # -- features

    def extract_features(
        self,
        source: Tensor,
        mode: str | None = None,
        padding_mask: Tensor | None = None,
        mask: bool = False,
        remove_extra_tokens: bool = True,
    ) -> dict[str, Tensor | None]:
        """As :func:`extract_features`, of this model's encoder."""
        return extract_features(self.encoder, source, mode, padding_mask, mask, remove_extra_tokens)


class EncoderView(nn.Module):
    """An encoder with the calls that EAT's programs make on the encoder of a fine-tuned model."""

    def __init__(self, encoder: SpectrogramEncoder):
        super().__init__()
        self.encoder = encoder
        self.training = encoder.training

    def extract_features(self, source, mode=None, padding_mask=None, mask=False, remove_extra_tokens=True):
        """As :func:`extract_features`."""
        return extract_features(self.encoder, source, mode, padding_mask, mask, remove_extra_tokens)


def extract_features(
    encoder: SpectrogramEncoder,
    source: Tensor,
    mode: str | None,
    padding_mask: Tensor | None,
    mask: bool,
    remove_extra_tokens: bool,
) -> dict[str, Tensor | None]:
    """Features of the last layer, as EAT's programs ask for them.

    Args:
        encoder: the encoder.
        source: spectrograms (B, 1, T, F).
        mode: the modality in EAT; there is one, so None or "IMAGE".
        padding_mask: (B, N), True = padding.
        mask: hiding patches is a matter of training; must be False.
        remove_extra_tokens: drop the prefix tokens (CLS).

    Returns:
        ``x``: (B, N, D), or (B, X + N, D) with the prefix tokens first; ``padding_mask`` as given.
    """
    if mask:
        raise ValueError("extract_features(mask=True) is not supported: features are those of the whole clip")
    if mode not in (None, "IMAGE"):
        raise ValueError(f'extract_features(mode="{mode}") is not supported: the one modality is "IMAGE"')
    tokens = encoder.features(source, padding_mask)
    return {"x": encoder.split(tokens)[1] if remove_extra_tokens else tokens, "padding_mask": padding_mask}


def _require_same(built: EncoderConfig, tensors: dict[str, Tensor]) -> None:
    """Refuses tensors of another architecture than the one that was built.

    Raises:
        ValueError: they are; the message names what differs.
    """
    try:
        found = infer_architecture(tensors, built.num_mel_bins)
    except UnknownLayoutError:
        return  # strict loading names what is missing
    wanted = keys_of_config(built)
    names = ("attention", "lambda_mode", "depth", "embed_dim", "mlp_ratio")
    different = [
        f"model.{name}={wanted[name]}, the checkpoint has {found[name]}"
        for name in names
        if found[name] != wanted[name] and not (name == "lambda_mode" and wanted["attention"] == "plain")
    ]
    if different:
        raise ValueError(
            f"the checkpoint is one of another network: {'; '.join(different)}. Set these keys to what the checkpoint "
            "has, or model.attention=auto, which takes them from it before the network is built"
        )
