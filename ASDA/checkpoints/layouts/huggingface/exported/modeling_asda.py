"""The model exported to Hugging Face: `AutoModel.from_pretrained(directory, trust_remote_code=True)`.

The network's own files lie beside this one, as they are in the project. Needs torch, transformers and safetensors.
"""

from __future__ import annotations

from torch import Tensor, nn
from transformers import PreTrainedModel

from .classifier import FC_NORM_EPS, pool_tokens
from .configuration_asda import AsdaConfig
from .encoder import SpectrogramEncoder


class AsdaModel(PreTrainedModel):
    """An audio encoder, with a classification head if it was fine-tuned."""

    config_class = AsdaConfig
    base_model_prefix = "asda"
    main_input_name = "spectrogram"

    def __init__(self, config: AsdaConfig):
        super().__init__(config)
        self.encoder = SpectrogramEncoder(**config.encoder)
        if config.head is not None:
            width = self.encoder.embed_dim
            self.fc_norm = nn.LayerNorm(width, eps=FC_NORM_EPS) if config.head["use_fc_norm"] else nn.Identity()
            self.head = nn.Linear(width, config.head["num_classes"])
        self.post_init()

    def forward(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Logits (B, C) of a fine-tuned model, features (B, 1 + N, D) of a pre-trained one.

        Args:
            spectrogram: normalised log-mel spectrograms (B, 1, T, F).
            padding_mask: (B, N), True = padding.
        """
        tokens = self.extract_features(spectrogram, padding_mask)
        if self.config.head is None:
            return tokens
        return self.head(self.fc_norm(pool_tokens(tokens, self.config.head["pooling"], padding_mask)))

    def extract_features(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Features of the last layer, CLS first: (B, 1 + N, D); arguments as of :meth:`forward`."""
        return self.encoder(spectrogram, padding_mask)
