"""The model card, `README.md`: what is known of a model, for people who find it on the hub."""

from __future__ import annotations

import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ....core import zoo
from ...checkpoint import Checkpoint

FILE = "README.md"
MARK = "<!-- written by asda-convert, which replaces this file as long as this line is in it -->"
_PAPERS = {
    "ASDA": "2507.02666",
    "EAT": "2401.03497",
    "MAE-AST patch": "2203.16691",
    "MAE-AST frame": "2203.16691",
    "MAE-AST pre-norm": "2203.16691",
    "SSAST": "2110.09784",
    "AST": "2104.01778",
}
_LISTED_CLASSES = 20
_FRAMES_PER_S = 100


def is_edited(folder: Path) -> bool:
    """Whether a folder has a README.md that somebody has written, or has made their own."""
    file = folder / FILE
    return file.exists() and MARK not in file.read_text(encoding="utf-8", errors="replace")


def text(checkpoint: Checkpoint, state: Mapping[str, Any] | None) -> str:
    """The card.

    Args:
        checkpoint: the model.
        state: the checkpoint of fairseq's trainer that it is part of, which knows of metrics; or None.
    """
    system = zoo.system_of(checkpoint.encoder_config)
    is_classifier = checkpoint.head_config is not None
    parts = [
        _metadata(is_classifier),
        f"# {system or 'An audio encoder'}{', fine-tuned' if is_classifier else ''}",
        MARK,
        _table({"system": _system(system)} | _network(checkpoint)),
        f"## Input\n\n{_input(checkpoint)}",
    ]
    if is_classifier:
        parts.append(f"## Classes\n\n{_classes(checkpoint)}")
    parts.append(f"## Training\n\n{_training(checkpoint, state)}")
    parts.append(f"## Use\n\n{_use(checkpoint)}")
    parts.append("## Licence\n\nNot stated yet: say here, and as `license` at the top, how these weights may be used.")
    return "\n\n".join(parts) + "\n"


def _metadata(is_classifier: bool) -> str:
    task = "audio-classification" if is_classifier else "feature-extraction"
    return (
        f"---\nlibrary_name: transformers\npipeline_tag: {task}\nlicense: unknown\ntags:\n- audio\n"
        "- audio-spectrogram\n- asda\n---"
    )


def _system(system: str | None) -> str:
    if system is None:
        return "none of the published ones"
    return f"{system} ([arXiv {_PAPERS[system]}](https://arxiv.org/abs/{_PAPERS[system]}))"


def _network(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.encoder_config
    count = sum(tensor.numel() for tensor in (*checkpoint.encoder.values(), *checkpoint.head.values()))
    return {
        "attention": config.stack.attention.kind,
        "layers": config.stack.depth,
        "width": config.stack.embed_dim,
        "patches": " x ".join(map(str, config.patches.size)),
        "numbers in its tensors": f"{count:,}",
    }


def _input(checkpoint: Checkpoint) -> str:
    front_end = checkpoint.front_end
    length = front_end.target_length_frames
    rows = {
        "sample rate": f"{front_end.sample_rate_hz} Hz, mono",
        "features": f"{front_end.num_mel_bins} log-mel bins, Kaldi's filterbank, {front_end.window} window",
        "length": "any" if length is None else f"{length / _FRAMES_PER_S:g} s ({length} frames); longer clips are cut",
        "short clips": "filled up" if front_end.padding == "constant" else "under a padding mask",
        "normalisation": f"(x - {front_end.norm_mean:g}) / (2 * {front_end.norm_std:g})",
    }
    guessed = (
        "" if checkpoint.front_end_recorded else "\n\nThe checkpoint does not record this: it is what was assumed."
    )
    return _table(rows) + guessed


def _classes(checkpoint: Checkpoint) -> str:
    names = [_text(name) for name in checkpoint.label_names]
    scores = "one sigmoid per class" if checkpoint.independent_scores else "a softmax over the classes"
    listed = ", ".join(names[:_LISTED_CLASSES]) + (", ..." if len(names) > _LISTED_CLASSES else "")
    return (
        f"{checkpoint.num_classes}, scores by {scores}{f': {listed}' if names else '; their names are not recorded'}."
    )


def _training(checkpoint: Checkpoint, state: Mapping[str, Any] | None) -> str:
    config = checkpoint.training_config or {}
    task, model = (config.get(part) or {} for part in ("task", "model"))
    rows = {
        "trained by": model.get("_name"),
        # the last part alone: where it lay is nobody else's business
        "data": ", ".join(Path(folder).name for folder in str(task.get("data") or "").split(":") if folder),
        "started from": Path(str(model.get("model_path") or "")).name or model.get("init"),
        "updates": checkpoint.num_updates,
    } | _metrics(config, state)
    known = {_text(name): _text(str(value)) for name, value in rows.items() if value}
    return _table(known) if known else "Not recorded."


def _metrics(config: Mapping[str, Any], state: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the run's validation found best, if it looked."""
    extra = (state or {}).get("extra_state") or {}
    name = (config.get("checkpoint") or {}).get("best_checkpoint_metric")
    best = extra.get("best")
    return {f"best {name} on its validation set": f"{best:.6g}"} if name and isinstance(best, (int, float)) else {}


def _use(checkpoint: Checkpoint) -> str:
    rate_hz = checkpoint.front_end.sample_rate_hz
    if checkpoint.head_config is not None:
        code = (
            "from transformers import pipeline\n\n"
            'classify = pipeline("audio-classification", model="THIS_MODEL", trust_remote_code=True)\n'
            f'classify({{"array": waveform, "sampling_rate": {rate_hz}}})  # or a file, where ffmpeg is installed'
        )
    else:
        code = (
            "import torch\nfrom transformers import AutoFeatureExtractor, AutoModel\n\n"
            'hear = AutoFeatureExtractor.from_pretrained("THIS_MODEL", trust_remote_code=True)\n'
            'model = AutoModel.from_pretrained("THIS_MODEL", trust_remote_code=True).eval()\n'
            f'inputs = hear(waveform, sampling_rate={rate_hz}, return_tensors="pt")\n'
            "with torch.no_grad():\n    features = model(**inputs)  # (clips, tokens, width), prefix tokens first"
        )
    tuning = (
        'AutoModelForAudioClassification.from_pretrained("THIS_MODEL", num_labels=4, ignore_mismatched_sizes=True,\n'
        "                                                trust_remote_code=True)"
    )
    return f"```python\n{code}\n```\n\nWith a head of its own, to fine-tune:\n\n```python\n{tuning}\n```"


def _text(name: str) -> str:
    """What a file says, as text: a card is shown as html."""
    return html.escape(" ".join(name.split()), quote=False)


def _table(rows: Mapping[str, Any]) -> str:
    lines = [f"| {name} | {str(value).replace('|', chr(92) + '|')} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])
