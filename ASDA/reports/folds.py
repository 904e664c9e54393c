"""Print the validation metric of every fold of a cross-validation and its mean, from the folders of the runs."""

import argparse
import json
import statistics
import sys
from pathlib import Path

import torch


def fold_scores(folder: Path) -> tuple[str, float, float]:
    """Metric's name, its value after the last update, and its best value over the validations of one run.

    Raises:
        ValueError: when the run has left no checkpoint or did not validate.
    """
    file = folder / "checkpoint_last.pt"
    if not file.is_file():
        raise ValueError(f"{file} does not exist: this fold has not finished")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        extra, metric = state["extra_state"], state["cfg"]["checkpoint"]["best_checkpoint_metric"]
    except Exception as error:  # old formats fail in any way at all when a byte is wrong
        first = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{file} is damaged, or no checkpoint of a run ({first})") from error
    last, best = (extra.get(key) for key in ("val_loss", "best"))  # fairseq's names, whatever the metric
    if last is None or best is None:
        raise ValueError(f"{file} holds no validation result: was dataset.disable_validation set?")
    return metric, float(last), float(best)


def summarise(folders: list[Path]) -> dict:
    """Mean and sample standard deviation over the folds, of the last and of the best value of each.

    Raises:
        ValueError: when a fold has no result, or the folds report different metrics.
    """
    names, last, best = zip(*(fold_scores(folder) for folder in folders), strict=True)
    if len(set(names)) > 1:
        raise ValueError(f"the folds report different metrics: {', '.join(sorted(set(names)))}")
    summary = {"metric": names[0], "folds": [folder.name for folder in folders], "last": last, "best": best}
    for key in ("last", "best"):
        summary[f"{key}_mean"] = statistics.fmean(summary[key])
        summary[f"{key}_std"] = statistics.stdev(summary[key]) if len(folders) > 1 else 0.0
    return summary


def print_table(summary: dict) -> None:
    """One line per fold, then the mean. The best value was chosen on the fold it is measured on; the last was not."""
    print(f"{summary['metric']:<12}{'last':>10}{'best':>10}")
    for fold, last, best in zip(summary["folds"], summary["last"], summary["best"], strict=True):
        print(f"{fold:<12}{last:>10.4f}{best:>10.4f}")
    print(f"{'mean':<12}{summary['last_mean']:>10.4f}{summary['best_mean']:>10.4f}")
    print(f"{'deviation':<12}{summary['last_std']:>10.4f}{summary['best_std']:>10.4f}")


def main(argv: list[str] | None = None) -> int:
    """Program entry: folders of the runs as arguments; exit code 1 with one line when a fold has no result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folder of each fold's run (its checkpoint.save_dir)")
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    arguments = parser.parse_args(argv)
    try:
        summary = summarise(arguments.folders)
    except ValueError as error:
        print(f"folds: {error}", file=sys.stderr)
        return 1
    print_table(summary)
    if arguments.json:
        arguments.json.write_text(json.dumps(summary, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
