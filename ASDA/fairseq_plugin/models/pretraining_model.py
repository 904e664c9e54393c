"""What the registered pre-training models share: masks of the data loader or given ones -> losses by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor

from ...core.places import Places
from .objective_model import ObjectiveModel


class PretrainingModel(ObjectiveModel):
    """A registered model whose objective learns from masks."""

    loss_names: ClassVar[Mapping[str, str]] = {}
    """An objective's term -> what configs and logs call it, where that is another name."""
    takes_padding: ClassVar[bool] = True
    """Whether the objective leaves padding out."""

    def forward(
        self,
        source: Tensor,
        id: Tensor | None = None,
        padding_mask: Tensor | None = None,
        mask: bool = True,
        features_only: bool = False,
        remove_extra_tokens: bool = True,
        places: dict[str, Tensor] | None = None,
        precomputed_mask: Tensor | None = None,
        counts: bool = True,
    ) -> dict[str, Any]:
        """Losses of a batch, or its features.

        Args:
            source: spectrograms (B, 1, T, F), as the model's objective wants them.
            id: accepted because fairseq passes it; the masks come from the data set.
            padding_mask: (B, N), True = padding; with ``features_only`` or ``precomputed_mask``; places hold it.
            mask: must be True unless ``features_only``.
            features_only: return the features of :meth:`extract_features` instead of losses.
            remove_extra_tokens: with ``features_only``, drop the prefix tokens.
            places: the masks as indices, as :meth:`Places.to_dict` gives them.
            precomputed_mask: instead of these, masks (B * M, N) or (B, M, N), True = hidden.
            counts: whether the batch enters statistics over all processes.

        Returns:
            ``losses``, each times ``sample_size``, the number of hidden patches; ``masked_pct`` and the objective's
            statistics for the log.
        """
        if features_only:
            return self.extract_features(source, None, padding_mask, False, remove_extra_tokens)
        if not mask or (padding_mask is not None and (precomputed_mask is None or not self.takes_padding)):
            padding = "a padding mask with precomputed_mask alone" if self.takes_padding else "no padding mask"
            raise ValueError(f"pre-training needs mask=True, and takes {padding}; for features: features_only=True")
        if places is not None:
            hidden = Places.from_dict(places, len(source))
        else:
            drawn = self.draw_masks(source) if precomputed_mask is None else precomputed_mask
            hidden = Places.of(drawn.bool().flatten(0, -2), len(source), padding_mask).to(source.device)
        losses = self.losses(source, mask=hidden, counts=counts)
        return {
            "losses": {self.loss_names.get(term, term): loss for term, loss in losses.terms.items()},
            "sample_size": losses.sample_size,
            "masked_pct": losses.sample_size / max(losses.sample_size + hidden.num_kept, 1),
            **self.schedule_statistics(),
            **losses.statistics,
        }

    def draw_masks(self, source: Tensor) -> Tensor:
        """Masks (B * M, N) of a batch that brings none.

        Raises:
            ValueError: the model draws none.
        """
        raise ValueError("pre-training needs masks: places, or precomputed_mask (clips x masks, patches)")

    def schedule_statistics(self) -> dict[str, float]:
        """What the log tells of the training beside the objective's statistics."""
        return {}
