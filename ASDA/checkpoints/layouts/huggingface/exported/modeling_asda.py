"""The model exported to Hugging Face: `AutoModel.from_pretrained(directory, trust_remote_code=True)`.

The network's own files lie beside this one, as they are in the project. Needs torch, transformers and safetensors.
"""

from __future__ import annotations

from torch import Tensor
from transformers import PreTrainedModel

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

    def forward(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Logits (B, C) of a fine-tuned model, features (B, X + N, D) of a pre-trained one.

        Args:
            spectrogram: normalised log-mel spectrograms (B, 1, T, F).
            padding_mask: (B, N), True = padding.
        """
        if self.config.head is None:
            return self.extract_features(spectrogram, padding_mask)
        return self.head(*self.encoder(spectrogram, padding_mask), padding_mask)

    def extract_features(self, spectrogram: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """Features of the last layer, prefix tokens (CLS) first: (B, X + N, D); arguments as of :meth:`forward`."""
        return self.encoder.features(spectrogram, padding_mask)
