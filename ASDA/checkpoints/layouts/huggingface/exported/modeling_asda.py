"""The models exported to Hugging Face: `AutoModel.from_pretrained(directory, trust_remote_code=True)`, and
`AutoModelForAudioClassification` likewise.

The network's own files lie beside this one, as they are in the project. Needs torch, transformers and safetensors.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn import functional as F
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

# Every file is imported here, used or not: of a directory on disk, versions of transformers before 5.10 take along only
# those that this one names itself.
from .attention import Attention  # noqa: F401
from .attention_kinds import Plain  # noqa: F401
from .attention_maps import watched_attention
from .block import Block  # noqa: F401
from .classifier import ClassificationHead
from .config import EncoderConfig, HeadConfig
from .config_error import ConfigError  # noqa: F401
from .configuration_asda import SIGMOID_PROBLEM, SOFTMAX_PROBLEM, AsdaConfig
from .differential_v2 import DifferentialAttentionV2  # noqa: F401
from .encoder import SpectrogramEncoder
from .layer_norm import LayerNorm  # noqa: F401
from .patches import row_padding_mask, whole_rows
from .places import Places  # noqa: F401
from .positions import POSITIONS  # noqa: F401
from .stack import TransformerStack  # noqa: F401

if TYPE_CHECKING:  # taken along all the same
    from .pipeline_asda import AsdaAudioClassificationPipeline  # noqa: F401


class AsdaPreTrainedModel(PreTrainedModel):
    """What both models consist of: an encoder, and a head where one is wanted."""

    config_class = AsdaConfig
    base_model_prefix = "asda"
    main_input_name = "input_values"

    def __init__(self, config: AsdaConfig):
        super().__init__(config)
        self.encoder = SpectrogramEncoder(EncoderConfig.from_dict(config.encoder))
        if config.head is not None:
            settings = {name: config.head[name] for name in ("pooling", "norm", "norm_eps")}
            self.head = ClassificationHead(self.encoder.embed_dim, HeadConfig(config.num_labels, **settings))

    def _init_weights(self, module: nn.Module) -> None:
        """Values for a module whose tensors the directory lacks: a new head, or one of another number of classes."""
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)

    def _encode(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None,
        padding_mask: Tensor | None,
        output_attentions: bool | None,
        output_hidden_states: bool | None,
    ) -> tuple[Tensor, Tensor | None, dict[str, tuple[Tensor, ...] | None]]:
        """Features (B, X + N, D), the padding mask of the patches, and what else was asked for."""
        attentions = self.config.output_attentions if output_attentions is None else output_attentions
        hidden_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        encoder = self.encoder
        spectrogram = (input_values[:, None] if input_values.ndim == 3 else input_values).to(encoder.dtype)
        if attention_mask is not None and padding_mask is None:
            grid = encoder.grid(spectrogram)
            rows = whole_rows(attention_mask.sum(dim=1), encoder.config.patches).clamp(max=grid.rows)
            padding_mask = row_padding_mask(rows, grid)
            padding_mask = padding_mask if bool(padding_mask.any()) else None
        with watched_attention(encoder) if attentions else nullcontext([]) as layers:
            tokens, token_padding = encoder.embed(spectrogram, padding_mask)
            states = [tokens]
            for output, _ in encoder.layers(tokens, token_padding):
                states = [*states, output] if hidden_states else [output]
        extra = {
            "hidden_states": tuple(states) if hidden_states else None,
            "attentions": tuple(layer.weights for layer in layers) if attentions else None,
        }
        return encoder.stack.norm_last(states[-1]), padding_mask, extra


class AsdaModel(AsdaPreTrainedModel):
    """An audio encoder, with a classification head if it was fine-tuned."""

    def __init__(self, config: AsdaConfig):
        super().__init__(config)
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor | tuple | BaseModelOutput | SequenceClassifierOutput:
        """Logits (B, C) of a fine-tuned model, features (B, X + N, D) of a pre-trained one.

        Args:
            input_values: normalised log-mel spectrograms, (B, T, F) or (B, 1, T, F).
            padding_mask: (B, N), patches, True = padding.
            output_attentions: also what each layer attends to, (B, H, X + N, X + N), rows by the token that asks: the
                weights that its values are summed with. Of differential attention that is the difference of its maps,
                which may be negative. Computed beside the forward pass, without gradient.
            output_hidden_states: also the tokens that enter the first layer and the output of each layer, each
                (B, X + N, D). Of an encoder with a norm after its last layer the features are that norm's.
            return_dict: True gives an output object also where nothing more than a tensor was asked for, False a
                tuple where it was. Both of these settings are taken from the config where they are not given.
            attention_mask: (B, T), frames, 1 = sound, as the feature extractor gives it; another way to say the
                padding mask.
        """
        features, padding_mask, extra = self._encode(
            input_values, attention_mask, padding_mask, output_attentions, output_hidden_states
        )
        is_headless = self.config.head is None
        result = features if is_headless else self.head(*self.encoder.split(features), padding_mask)
        if not (return_dict or any(value is not None for value in extra.values())):
            return result
        if is_headless:
            output = BaseModelOutput(last_hidden_state=result, **extra)
        else:
            output = SequenceClassifierOutput(logits=result, **extra)
        return output.to_tuple() if return_dict is False else output

    def extract_features(self, input_values: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Features of the last layer, prefix tokens (CLS) first: (B, X + N, D); arguments as of :meth:`forward`."""
        return self._encode(input_values, None, padding_mask, False, False)[0]


class AsdaForAudioClassification(AsdaPreTrainedModel):
    """An encoder with a classification head for `config.num_labels` classes; a new one if it has none."""

    def __init__(self, config: AsdaConfig):
        if config.head is None:
            has_prefix = EncoderConfig.from_dict(config.encoder).num_prefix_tokens > 0
            new = HeadConfig(config.num_labels, pooling="cls" if has_prefix else "mean")
            config.head = new.to_dict()
        super().__init__(config)
        self.post_init()

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
        padding_mask: Tensor | None = None,
        **kwargs: Any,
    ) -> tuple | SequenceClassifierOutput:
        """Logits (B, C), and the loss where there are labels.

        Args:
            input_values, attention_mask, output_attentions, output_hidden_states, padding_mask: see
                :meth:`AsdaModel.forward`.
            labels: classes (B,); or, of clips with several labels, (B, C) of 0 and 1.
            return_dict: False gives a tuple.
            **kwargs: what transformers' Trainer passes and no model needs, such as num_items_in_batch.
        """
        features, padding_mask, extra = self._encode(
            input_values, attention_mask, padding_mask, output_attentions, output_hidden_states
        )
        logits = self.head(*self.encoder.split(features), padding_mask)
        loss = None if labels is None else self._loss(logits, labels)
        output = SequenceClassifierOutput(loss=loss, logits=logits, **extra)
        is_dict = self.config.return_dict if return_dict is None else return_dict
        return output if is_dict else output.to_tuple()

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Of the kind that `problem_type` says; where it says none, the labels do, as in transformers' own models."""
        if self.config.problem_type is None:
            if self.config.num_labels == 1:
                self.config.problem_type = "regression"
            else:
                is_multi_label = labels.is_floating_point() or labels.ndim > 1
                self.config.problem_type = SIGMOID_PROBLEM if is_multi_label else SOFTMAX_PROBLEM
        if self.config.problem_type == "regression":
            return F.mse_loss(logits.squeeze(-1).float(), labels.squeeze(-1).float())
        if self.config.problem_type == SOFTMAX_PROBLEM:
            return F.cross_entropy(logits.float(), labels)
        if labels.shape != logits.shape:
            raise ValueError(
                f"problem_type is {self.config.problem_type}: expected labels of shape {tuple(logits.shape)}, got "
                f'{tuple(labels.shape)}; for one class per clip load with problem_type="{SOFTMAX_PROBLEM}"'
            )
        return F.binary_cross_entropy_with_logits(logits.float(), labels.float())


# So that save_pretrained copies this code in every version; 4.48 does not see to it itself.
AsdaConfig.register_for_auto_class()
AsdaModel.register_for_auto_class("AutoModel")
AsdaForAudioClassification.register_for_auto_class("AutoModelForAudioClassification")
