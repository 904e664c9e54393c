"""The comparison of methods of adaptation: its runs, its report, its script. The numbers it measures are not tested."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.core import zoo
from ASDA.core.encoder import SpectrogramEncoder
from ASDA.data.manifest import write_manifest
from benchmarks import adaptation_report, adaptation_runs, bench_adaptation
from benchmarks.adapted_encoders import Source, checksum_of

from .test_benchmarks import rows_of, run_script, write_samples

CPU = torch.device("cpu")


def tiny(seed: int = 0) -> Source:
    stack = replace(zoo.AST.stack, embed_dim=16, depth=2, num_heads=2)
    config = replace(zoo.AST, stack=stack, max_rows=2)
    torch.manual_seed(seed)
    return Source(config, SpectrogramEncoder(config).state_dict(), FrontEnd(32, padding="mask"))


def test_source__random_weights_are_the_seeds_and_the_network_stays():
    trained = tiny()
    random = trained.at_random_weights(1)
    assert random.identity() == trained.at_random_weights(1).identity() != trained.at_random_weights(2).identity()
    assert random.identity() != trained.identity()
    assert (random.config, random.front_end) == (trained.config, trained.front_end)


def test_costs__count_what_is_trained_and_what_adamw_keeps():
    source = tiny()
    batch = {"spectrogram": torch.randn(2, 1, 32, 128), "target": torch.eye(3)[:2]}
    found = bench_adaptation.costs(
        lambda method: source.adapted(method, 3, 0, CPU), ["all", "last_blocks", "head"], batch, CPU, repeats=1
    )
    parameters = {method: cost.trained for method, cost in found.items()}
    head = 2 * 16 + 3 * 17
    block = sum(p.numel() for p in SpectrogramEncoder(source.config).stack.blocks[0].parameters())
    assert parameters["head"] == head and parameters["last_blocks"] == head + block  # half of two
    assert parameters["all"] == head + sum(p.numel() for p in SpectrogramEncoder(source.config).parameters())
    for cost in found.values():  # two moments, and a counter of four bytes for each tensor
        assert 8 * cost.trained <= cost.optimizer_mib * 2**20 <= 8 * cost.trained + 4 * 100
        assert cost.ms > 0


def test_kept__is_made_again_only_for_other_settings(tmp_path):
    made = []

    def make() -> dict:
        made.append(None)
        return {"accuracy": 0.5}

    first = adaptation_runs.kept(tmp_path / "a" / "run.json", {"seed": 1, "rates": (0.1, 0.2)}, make)
    assert adaptation_runs.kept(tmp_path / "a" / "run.json", {"seed": 1, "rates": (0.1, 0.2)}, make) == first
    assert first["accuracy"] == 0.5 and len(made) == 1
    adaptation_runs.kept(tmp_path / "a" / "run.json", {"seed": 2, "rates": (0.1, 0.2)}, make)
    assert len(made) == 2


def write_fold(folder: Path, clips: dict[str, list[str]]) -> Path:
    """A fold of noise: split -> the clips' classes, a loud and a quiet one."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for split, labels in clips.items():
        rows = []
        for number, label in enumerate(labels):
            waveform = rng.normal(0, {"a": 0.3, "b": 0.003}[label], 2_000 + 700 * number)
            soundfile.write(folder / f"{split}{number}.wav", waveform, 16_000)
            rows.append((f"{split}{number}.wav", len(waveform)))
        write_manifest(folder / f"{split}.tsv", folder, rows)
        (folder / f"{split}.lbl").write_text("".join(f"{split}{n}\t{label}\n" for n, label in enumerate(labels)))
    (folder / "label_descriptors.csv").write_text('index,mid,display_name\n0,a,"a"\n1,b,"b"\n')
    return folder


def run_tiny(fold: Path, work: Path, *more: str) -> dict[str, dict]:
    arguments = ["--folds", str(fold), "--encoders", "ast", "--work", str(work), "--methods", "head", "--frames", "32"]
    arguments += ["--updates", "2", "--clips", "4", "--repeats", "1", "--device", "cpu", *more]
    assert adaptation_runs.main(arguments) == 0
    return {str(file.relative_to(work)): json.loads(file.read_text()) for file in work.rglob("*.json")}


def test_runs__results_belong_to_their_clips_and_settings(tmp_path):
    fold = write_fold(tmp_path / "fold1", {"train": list("aabbab"), "eval": list("ab")})
    found = run_tiny(fold, tmp_path / "work")
    assert set(found) == {"ast/cost.json", "ast/head/rate.json", "ast/head/seed1_fold1.json"}
    assert found["ast/head/rate.json"]["held_out"] == 2 and found["ast/head/rate.json"]["rate"] in (0.001, 0.004)
    run = found["ast/head/seed1_fold1.json"]
    assert run["held_out"] == 2 and run["accuracy"] in (0.0, 0.5, 1.0)
    assert run["settings"]["clips_sha256"] == checksum_of(fold)
    assert run_tiny(fold, tmp_path / "work") == found
    (fold / "eval.lbl").write_text("eval0\tb\neval1\tb\n")  # another corpus in the same place
    changed = run_tiny(fold, tmp_path / "work")["ast/head/seed1_fold1.json"]
    assert changed["settings"]["clips_sha256"] == checksum_of(fold) != run["settings"]["clips_sha256"]


def test_runs__a_checkpoint_for_each_seed(tmp_path):
    fold = write_fold(tmp_path / "fold1", {"train": list("ab"), "eval": list("ab")})
    with pytest.raises(SystemExit, match="asda: 1 checkpoints, expected one for each of 2 seeds"):
        run_tiny(fold, tmp_path / "work", "--encoders", "asda=a.pt", "--seeds", "1", "2")


def write_results(work: Path, accuracies: dict[str, dict[str, list[list[float]]]]) -> None:
    """What adaptation.sh leaves: encoder -> method -> accuracies of the folds, for each seed."""
    fold = work / "corpus" / "folds" / "fold1"
    fold.mkdir(parents=True)
    for split, count in (("train", 3), ("eval", 2)):
        write_manifest(fold / f"{split}.tsv", fold, [(f"{split}{n}.wav", 16_000) for n in range(count)])
        (fold / f"{split}.lbl").write_text("".join(f"{split}{n}\t{'ab'[n % 2]}\n" for n in range(count)))
    (fold / "label_descriptors.csv").write_text('index,mid,display_name\n0,a,"a"\n1,b,"b"\n')
    settings = {"updates": 6, "clips": 4, "weight_decay": 0.05, "seed": 1, "rates": [0.001, 0.01]}
    settings["front_end"] = {"target_length_frames": 64}
    for encoder, methods in accuracies.items():
        costs = {
            name: {"trained": 100 * row, "ms": 50 / row, "peak_mib": 10.0, "optimizer_mib": 10.0 * row}
            for row, name in enumerate(methods, start=1)
        }
        for method, seeds in methods.items():
            folder = work / encoder / method
            folder.mkdir(parents=True)
            (folder / "rate.json").write_text(json.dumps({"settings": settings, "rate": 0.01, "held_out": 1}))
            for seed, folds in enumerate(seeds, start=1):
                for number, value in enumerate(folds, start=1):
                    (folder / f"seed{seed}_fold{number}.json").write_text(json.dumps({"accuracy": value}))
        about = {"depth": 4, "width": 128, "clock": "processor time", "environment": "2026-01-01, a machine"}
        cost = {"encoder_parameters": 1000, **about, "methods": costs}
        (work / encoder / "cost.json").write_text(json.dumps(cost))


def report(work: Path, encoders: list[str], methods: list[str], folds: int) -> str:
    arguments = ["--work", str(work), "--corpus", str(work / "corpus"), "--encoders", *encoders, "--methods", *methods]
    arguments += ["--seeds", "1", "2", "--folds", *(f"fold{number + 1}" for number in range(folds))]
    assert adaptation_report.main([*arguments, "--output", str(work / "out.md")]) == 0
    return (work / "out.md").read_text()


def test_report__numbers_and_sentences_follow_from_the_runs(tmp_path):
    full, aat = [[0.4, 0.5, 0.6], [0.6, 0.5, 0.6]], [[0.6, 0.6, 0.7], [0.6, 0.61, 0.7]]
    write_results(tmp_path, {"asda": {"all": full, "aat": aat}, "ast": {"all": full, "aat": [full[1], full[0]]}})
    text = report(tmp_path, ["asda", "ast"], ["all", "aat"], folds=3)
    rows = rows_of(tmp_path / "out.md")
    assert rows[0][1:] == ["100 (10.0 %)", "50 (1.00)", "10.0", "10.0", "0.01", "53.3 % (39.0 to 67.7)", ""]
    assert rows[1][1:6] == ["200 (20.0 %)", "25 (0.50)", "10.0", "20.0", "0.01"] and rows[1][7].startswith("+10.2 (+9.")
    assert rows[3][6:] == ["53.3 % (39.0 to 67.7)", "+0.0 (+0.0 to +0.0)"]
    assert (
        "5 recordings, one of 2 classes each" in text
        and "has 60.0 % of them. Seeds 1 2, folds fold1 fold2 fold3." in text
    )
    (told,) = (line for line in text.splitlines() if line.startswith("* both adapters (AAT^MS) against full"))
    assert "+5.1 points" in told and "over 3 folds." in told and "The intervals of the two means overlap." in told
    assert told.endswith("By itself above on ASDA, pre-trained.")
    assert "* both adapters (AAT^MS): 0.50 of the time of full fine-tuning's update, 1.50 of its memory." in text
    assert "chosen of 0.001, 0.01 for each" in text and "against LoRA:" not in text
    assert text.count("Costs: 2026-01-01, a machine") == 2
    assert "Of 3 comparisons" in text  # on each of two encoders, and on both
    assert "* ASDA, pre-trained: the two highest means and the lowest are both adapters (AAT^MS) 63.5 %" in text


def test_report__pre_training_stands_beside_random_weights(tmp_path):
    low, high = [[0.4, 0.5]] * 2, [[0.6, 0.7]] * 2
    write_results(tmp_path, {"asda": {"head": high}, "asda_random": {"head": low}})
    text = report(tmp_path, ["asda", "asda_random"], ["head"], folds=2)
    assert "* head alone on ASDA, pre-trained, against random weights: +20.0 points" in text
    assert "Of 1 comparisons" in text  # the networks at random weights are no more encoders
    assert "## ASDA, random weights" in text and "full fine-tuning's update" not in text


@pytest.mark.slow
@pytest.mark.long
def test_adaptation_script__writes_its_table(tmp_path):
    pytest.importorskip("fairseq", reason="training runs inside fairseq")
    pytest.importorskip("peft", reason="LoRA is peft's")
    samples = write_samples(tmp_path / "samples", each=10)
    settings = {"DATA": str(samples), "SEEDS": "1", "FOLDS": "1 2", "UPDATES": "3", "RATES": "0.001"}
    settings |= {"METHODS": "all prompts lora aat", "ENCODERS": "asda mae_ast ast asda_random"}
    rows = run_script("adaptation.sh", tmp_path, **settings)
    names = ["full fine-tuning", "prompts in each layer", "LoRA", "both adapters (AAT^MS)"]
    assert [row[0] for row in rows] == 4 * names
    for row in rows:
        assert re.fullmatch(r"[0-9,]+ \([0-9.]+ %\)", row[1]) and float(row[2].split()[0]) > 0 and row[5] == "0.001"
    text = (tmp_path / "table.md").read_text()
    assert "20 recordings, one of 2 classes each" in text and "## AST, random weights" in text
    assert "both adapters (AAT^MS) against LoRA" in text and "on ASDA, pre-trained, against random weights" in text
    runs = [file for file in (tmp_path / "work").rglob("*.json") if "objectives" not in file.parts]
    done = {file: file.stat().st_mtime_ns for file in runs}
    assert run_script("adaptation.sh", tmp_path, **settings) == rows
    assert done == {file: file.stat().st_mtime_ns for file in runs}
