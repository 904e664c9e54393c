"""What users of transformers do with exported directories, run as a program where this package cannot be imported.

python use_of_export.py EXPORTED WAVEFORM.npy RESULTS.pt

For each directory in EXPORTED, results of classifiers: `inputs`, `logits`, `scores`, ...; of encoders: `features`.
What `save_pretrained` leaves goes to EXPORTED.saved.
"""

from __future__ import annotations

import sys
from pathlib import Path


class Absent:
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in ("ASDA", "fairseq", "hydra", "omegaconf"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Absent)

import numpy as np  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
from transformers import (  # noqa: E402
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    pipeline,
)

TRUSTED = {"trust_remote_code": True}
RATE_HZ = 16_000


def scores_of(classify, waveform, **settings) -> dict[str, float]:
    sound = {"array": waveform, "sampling_rate": classify.feature_extractor.sampling_rate}
    return {found["label"]: found["score"] for found in classify(sound, top_k=100, **settings)}


def use_classifier(folder: Path, saved: Path, hear, waveform: np.ndarray) -> dict:
    model = AutoModelForAudioClassification.from_pretrained(folder, **TRUSTED).eval()
    inputs = hear(waveform, sampling_rate=hear.sampling_rate, return_tensors="pt")
    batch = hear([waveform, waveform[: len(waveform) // 3]], sampling_rate=hear.sampling_rate, return_tensors="pt")
    with torch.no_grad():
        seen = model(**inputs, output_attentions=True, output_hidden_states=True)
        both = model(**batch).logits
        assert torch.equal(model(**inputs, return_dict=False)[0], seen.logits)
        assert len(seen.hidden_states) == len(seen.attentions) + 1
        logits = AutoModel.from_pretrained(folder, **TRUSTED).eval()(**inputs)
        torch.testing.assert_close(logits, seen.logits)
    classify = pipeline("audio-classification", model=str(folder), device="cpu", **TRUSTED)
    softmax = scores_of(classify, waveform, function_to_apply="softmax")

    few = {"num_labels": 4, "ignore_mismatched_sizes": True, "problem_type": "single_label_classification"}
    other = AutoModelForAudioClassification.from_pretrained(folder, **few, **TRUSTED)
    for name, tensor in model.encoder.state_dict().items():
        assert torch.equal(tensor, other.encoder.state_dict()[name]), name
    assert other.head.linear.bias.abs().max() == 0 and 0.005 < other.head.linear.weight.std() < 0.05
    loss = other(**inputs, labels=torch.tensor([3])).loss
    loss.backward()
    assert other.encoder.patch_embed.proj.weight.grad.abs().max() > 0
    other.save_pretrained(f"{saved}-of-four")

    model.save_pretrained(saved)
    hear.save_pretrained(saved)
    again = AutoModelForAudioClassification.from_pretrained(saved, **TRUSTED).eval()
    with torch.no_grad():
        assert torch.equal(again(**inputs).logits, seen.logits)
    classify.model.save_pretrained(f"{saved}-by-pipeline")
    hear.save_pretrained(f"{saved}-by-pipeline")
    by_pipeline = pipeline("audio-classification", model=f"{saved}-by-pipeline", device="cpu", **TRUSTED)
    return {
        "inputs": inputs["input_values"],
        "logits": seen.logits[0],
        "both": both,
        "scores": scores_of(classify, waveform),
        "softmax": softmax,
        "saved_scores": scores_of(by_pipeline, waveform),
        "labels": dict(model.config.id2label),
        "loss": loss.item(),
        "of_four": [other.config.id2label[index] for index in range(4)],
    }


def use_encoder(folder: Path, saved: Path, hear, waveform: np.ndarray) -> dict:
    inputs = hear(waveform, sampling_rate=hear.sampling_rate, return_tensors="pt")
    model = AutoModel.from_pretrained(folder, **TRUSTED).eval()
    with torch.no_grad():
        features = model(**inputs)
    model.save_pretrained(saved)
    with torch.no_grad():
        assert torch.equal(AutoModel.from_pretrained(saved, **TRUSTED).eval()(**inputs), features)
    tuned = AutoModelForAudioClassification.from_pretrained(folder, num_labels=3, **TRUSTED)
    loss = tuned(**inputs, labels=torch.eye(3)[:1]).loss
    assert tuned.config.problem_type == "multi_label_classification"
    assert tuned.head.linear.bias.abs().max() == 0 and (tuned.head.norm.weight == 1).all()
    return {"inputs": inputs["input_values"], "features": features, "loss": loss.item()}


def main(exported: Path, waveform: Path, results: Path) -> None:
    found = {"version": transformers.__version__, "file": transformers.__file__}
    for folder in sorted(exported.iterdir()):
        hear = AutoFeatureExtractor.from_pretrained(folder, **TRUSTED)
        config = AutoConfig.from_pretrained(folder, **TRUSTED)
        use = use_encoder if config.head is None else use_classifier
        saved = exported.with_name(f"{exported.name}.saved") / folder.name
        saved.parent.mkdir(exist_ok=True)
        found[folder.name] = use(folder, saved, hear, np.load(waveform)) | {"hearing": type(hear).__name__}
    torch.save(found, results)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
