"""The model exported to Hugging Face: `AutoModel.from_pretrained(directory, trust_remote_code=True)`.

The network's own files lie beside this one, as they are in the project. Needs torch, transformers and safetensors.
"""

from __future__ import annotations

from contextlib import nullcontext

from torch import Tensor
from transformers import PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, SequenceClassifierOutput

from .attention_maps import watched_attention
from .classifier import ClassificationHead
from .config import EncoderConfig, HeadConfig
from .configuration_asda import AsdaConfig
from .encoder import SpectrogramEncoder


class AsdaModel(PreTrainedModel):
    """An audio encoder, with a classification head if it was fine-tuned."""

    config_class = AsdaConfig
    base_model_prefix = "asda"
    main_input_name = "spectrogram"

    def __init__(self, config: AsdaConfig):
        super().__init__(config)
        self.encoder = SpectrogramEncoder(EncoderConfig.from_dict(config.encoder))
        if config.head is not None:
            names = ("num_classes", "pooling", "norm", "norm_eps")
            head = HeadConfig.from_dict({name: config.head[name] for name in names})
            self.head = ClassificationHead(self.encoder.embed_dim, head)
        self.post_init()

    def forward(
        self,
        spectrogram: Tensor,
        padding_mask: Tensor | None = None,
        output_attentions: bool | None = None,
        output_hidden_states: bool | None = None,
        return_dict: bool | None = None,
    ) -> Tensor | tuple | BaseModelOutput | SequenceClassifierOutput:
        """Logits (B, C) of a fine-tuned model, features (B, X + N, D) of a pre-trained one.

        Args:
            spectrogram: normalised log-mel spectrograms (B, 1, T, F).
            padding_mask: (B, N), True = padding.
            output_attentions: also what each layer attends to, (B, H, X + N, X + N), rows by the token that asks: the
                weights that its values are summed with. Of differential attention that is the difference of its maps,
                which may be negative. Computed beside the forward pass, without gradient.
            output_hidden_states: also the tokens that enter the first layer and the output of each layer, each
                (B, X + N, D). Of an encoder with a norm after its last layer the features are that norm's.
            return_dict: True gives an output object also where nothing more than a tensor was asked for, False a
                tuple where it was. Both of these settings are taken from the config where they are not given.
        """
        attentions = self.config.output_attentions if output_attentions is None else output_attentions
        hidden_states = self.config.output_hidden_states if output_hidden_states is None else output_hidden_states
        encoder = self.encoder
        with watched_attention(encoder) if attentions else nullcontext([]) as layers:
            tokens, token_padding = encoder.embed(spectrogram, padding_mask)
            states = [tokens]
            for output, _ in encoder.layers(tokens, token_padding):
                states = [*states, output] if hidden_states else [output]
        features = encoder.stack.norm_last(states[-1])
        result = features if self.config.head is None else self.head(*encoder.split(features), padding_mask)
        if not (attentions or hidden_states or return_dict):
            return result
        extra = {
            "hidden_states": tuple(states) if hidden_states else None,
            "attentions": tuple(layer.weights for layer in layers) if attentions else None,
        }
        if self.config.head is None:
            output = BaseModelOutput(last_hidden_state=result, **extra)
        else:
            output = SequenceClassifierOutput(logits=result, **extra)
        return output.to_tuple() if return_dict is False else output

    def extract_features(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Features of the last layer, prefix tokens (CLS) first: (B, X + N, D); arguments as of :meth:`forward`."""
        return self.encoder.features(spectrogram, padding_mask)
