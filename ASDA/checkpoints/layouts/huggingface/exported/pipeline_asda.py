"""transformers' audio-classification pipeline, with the scores that the model was trained with in every version.

Version 4 applies a softmax whatever `problem_type` says; for one sigmoid per class that is another number. The oldest
versions give a model with its own code no feature extractor.
"""

from __future__ import annotations

from typing import Any

from transformers import AudioClassificationPipeline, AutoFeatureExtractor

FUNCTIONS = {"multi_label_classification": "sigmoid", "regression": "none"}


class AsdaAudioClassificationPipeline(AudioClassificationPipeline):
    """Sigmoid or softmax as `problem_type` says, unless `function_to_apply` says otherwise."""

    def __init__(self, *args: Any, function_to_apply: str | None = None, **kwargs: Any):
        self._stated_function = function_to_apply
        if kwargs.get("feature_extractor") is None and "model" in kwargs:
            config = kwargs["model"].config  # its code is trusted, or this would not run
            kwargs["feature_extractor"] = AutoFeatureExtractor.from_pretrained(
                config.name_or_path, revision=getattr(config, "_commit_hash", None), trust_remote_code=True
            )
        super().__init__(*args, **kwargs)

    def _sanitize_parameters(self, function_to_apply: str | None = None, **kwargs: Any) -> tuple[dict, dict, dict]:
        by_problem = FUNCTIONS.get(self.model.config.problem_type, "softmax")
        function = function_to_apply or self._stated_function or by_problem
        return super()._sanitize_parameters(function_to_apply=function, **kwargs)

    def check_model_type(self, supported_models: Any) -> None:
        """Nothing to say: transformers lists its own models, and calls all others not supported."""
