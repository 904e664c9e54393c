"""A run that learns from several folders at once: how much of what it hears is of each."""

from typing import Any, Dict, Sequence

from fairseq.logging import metrics

from ...data.folders import folder_names

_KEY = "_num_of_folder"


def counted(sample: dict, ignored: bool) -> Dict[str, int]:
    """What a batch adds to the log of its process: clips of each folder; nothing where there is one."""
    counts = sample.get("num_of_parts", ())
    return {f"{_KEY}{number}": 0 if ignored else count for number, count in enumerate(counts)}


def log_shares(folders: Sequence[str], logging_outputs: Sequence[dict]) -> None:
    """Logs the share of each folder as `share_NAME`, over all batches and processes that have `counted`."""
    counts = [float(sum(log.get(f"{_KEY}{n}", 0) for log in logging_outputs)) for n in range(len(folders))]
    if len(folders) > 1 and sum(counts) > 0:
        for name, count in zip(folder_names(folders), counts, strict=True):
            metrics.log_scalar(f"share_{name}", count / sum(counts), weight=sum(counts), priority=420, round=4)


def of_epoch(dataset: Any) -> str:
    """What the data set's epoch draws from each folder, in words; empty where there is one."""
    parts = dataset.manifest.parts
    if len(parts) == 1:
        return ""
    names, drawn = folder_names([part.manifest.file.parent for part in parts]), dataset.drawn_of_parts()
    shown = (f"{n:,} ({100 * n / sum(drawn):.2f} %) of {name}" for name, n in zip(names, drawn, strict=True))
    return f"epoch {dataset.epoch} draws {sum(drawn):,} clips: {', '.join(shown)}"
