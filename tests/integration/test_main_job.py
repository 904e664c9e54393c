"""Corpus -> pre-training -> fine-tuning -> evaluation -> features -> inference, through the real entry points."""

import csv
import json
import re

import numpy as np
import pytest
import torch

from ASDA.inference import load_encoder
from ASDA.metrics import chance_average_precision
from ASDA.probes.features import FeatureSettings, FeatureSource
from ASDA.probes.study import Study, probe_network
from ASDA.probes.tasks import read_task

from .conftest import ROOT, TINY_NETWORK, assert_ok, run, train
from .training_runs import write_clips

PRETRAINING_LOG = {
    "loss",
    "loss_cls",
    "loss_IMAGE_regression",
    "masked_pct",
    "pred_var",
    "target_var",
    "ema_decay",
    "clips_per_s",
}


def log_lines(folder, kind: str) -> list[dict]:
    """The json lines of one kind (train_inner, train, eval) in a run's log."""
    found = re.findall(rf"\[{kind}\]\[INFO\] - (\{{.*\}})", (folder / "hydra_train.log").read_text())
    return [json.loads(line) for line in found]


def test_pretraining__logs_every_interval_and_writes_a_safe_checkpoint(pretrained):
    lines = log_lines(pretrained, "train_inner")
    assert [line["num_updates"] for line in lines] == ["1", "2"]
    assert all(PRETRAINING_LOG <= set(line) for line in lines)
    total = float(lines[0]["loss_cls"]) + float(lines[0]["loss_IMAGE_regression"])
    assert float(lines[0]["loss"]) == pytest.approx(total, abs=2e-3)
    checkpoint = torch.load(pretrained / "checkpoint_last.pt", weights_only=True)
    assert checkpoint["model"]["_ema_num_updates"] == 2
    assert checkpoint["task_state"]["front_end"]["target_length_frames"] == 128
    assert checkpoint["cfg"]["model"]["attention"] == "differential"


def test_finetuning__reports_map_over_all_clips_and_records_labels(finetuned, corpus, num_classes):
    *_, last = log_lines(finetuned, "eval")
    assert int(last["eval_clips"]) == len((corpus / "eval.tsv").read_text().splitlines()) - 1
    assert 0 < float(last["eval_mAP"]) <= 1
    checkpoint = torch.load(finetuned / "checkpoint_best.pt", weights_only=True)
    assert len(checkpoint["task_state"]["label_names"]) == num_classes
    assert checkpoint["cfg"]["model"]["pretrained_model_args"]["model"]["embed_dim"] == 32


@pytest.mark.long
def test_linear_probe__runs_from_its_recipe_with_what_the_data_says(corpus, pretrained, num_classes, tmp_path):
    path = pretrained / "checkpoint_last.pt"
    overrides = [
        "+recipe=linear_probe",
        f"task.data={corpus}",
        f"model.model_path={path}",
        "model.num_classes=null",
        "checkpoint.best_checkpoint_metric=auto",
        "optimization.max_update=2",
    ]
    assert_ok(train("finetuning", tmp_path, *overrides))
    before = torch.load(path, weights_only=True)["model"]
    checkpoint = torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)
    after = checkpoint["model"]
    assert torch.equal(after["model.blocks.1.attn.qk.weight"], before["blocks.1.attn.qk.weight"])
    assert after["head.weight"].shape == (num_classes, 32)
    assert checkpoint["cfg"]["model"]["num_classes"] == num_classes
    assert checkpoint["cfg"]["checkpoint"]["best_checkpoint_metric"] == "mAP"
    *_, last = log_lines(tmp_path, "eval")
    assert checkpoint["extra_state"]["best"] == float(last["eval_mAP"])


@pytest.mark.long
def test_linear_probe__learns_what_a_logistic_regression_finds(pretrained, tmp_path):
    """With the recipe's learning rate and pooling; so few updates will do where pitch tells the classes apart."""
    path = pretrained / "checkpoint_last.pt"
    clips = write_clips(tmp_path / "clips", train=64, evaluation=32)
    overrides = [
        "+recipe=linear_probe",
        f"task.data={clips}",
        f"model.model_path={path}",
        "optimization.max_update=60",
        "dataset.batch_size=16",
        "dataset.validate_interval=1000",
        "checkpoint.save_interval=1000",
    ]
    assert_ok(train("finetuning", tmp_path / "run", *overrides))
    *_, last = log_lines(tmp_path / "run", "eval")
    encoder = load_encoder(path)

    source = FeatureSource(tmp_path / "features", FeatureSettings(padding="constant"))
    task = read_task(clips, source.checksums.of, "clips")
    (row,) = probe_network(encoder, [task], source, Study("logistic", (encoder.encoder.depth,), 1, 0.1, 0), seed=1)
    logistic = row["mAP"]
    chance = chance_average_precision(task.eval.targets)
    assert chance + 0.2 < logistic - 0.02 < float(last["eval_mAP"])


def test_legacy_names__an_eat_command_line_trains(corpus, tmp_path):
    """Task and model under EAT's names, with values as EAT's scripts spell them, and a yaml of EAT's form."""
    (tmp_path / "eat.yaml").write_text(
        """
common: {fp16: false, log_format: json, log_interval: 1, cpu: true}
checkpoint: {save_interval: 1, no_epoch_checkpoints: true}
task:
  _name: mae_image_pretraining
  data: ???
  rebuild_batches: true
  key: source
  h5_format: false
  target_length: 128
  downsr_16hz: true
  precompute_mask_config:
    patch_size: ${model.modalities.image.patch_size}
    mask_prob: ${model.modalities.image.mask_prob}
    mask_prob_adjust: ${model.modalities.image.mask_prob_adjust}
    mask_length: ${model.modalities.image.mask_length}
    inverse_mask: true
    mask_dropout: 0
    clone_batch: ${model.clone_batch}
    expand_adjacent: false
    non_overlapping: false
dataset: {num_workers: 0, batch_size: 2, skip_invalid_size_inputs_valid_test: true, disable_validation: true}
criterion: {_name: model, log_keys: [ema_decay, target_var, pred_var, masked_pct]}
optimization: {max_update: 2, lr: [0.0005], clip_norm: 4}
optimizer:
  _name: composite
  dynamic_groups: true
  groups:
    default:
      lr_float: 5e-4
      optimizer: {_name: adam, adam_betas: [0.9, 0.95], weight_decay: 0.05}
      lr_scheduler: {_name: cosine, warmup_updates: 1}
lr_scheduler: pass_through
model:
  _name: data2vec_multi
  depth: 2
  embed_dim: 32
  num_heads: 4
  average_top_k_layers: 2
  clone_batch: 2
  cls_loss: 1
  supported_modality: IMAGE
  modalities:
    image:
      inverse_mask: true
      mask_prob: 0.8
      mask_prob_adjust: 0.07
      mask_length: 5
      mask_noise_std: 0.01
      patch_size: 16
      embed_dim: 32
      ema_local_encoder: true
      decoder: {decoder_dim: 32, decoder_groups: 16, decoder_kernel: 3, decoder_layers: 6}
hydra: {run: {dir: .}, output_subdir: null}
"""
    )
    overrides = [
        f"task.data={corpus}",
        "model.modalities.image.mask_prob=0.75",
        "+model.modalities.image.max_length=64",
    ]
    assert_ok(train("eat", tmp_path, *overrides, config_dir=tmp_path))
    assert float(log_lines(tmp_path, "train_inner")[0]["masked_pct"]) == pytest.approx(0.75, abs=0.01)


def test_collapse_monitor__ends_the_run_with_the_reason(corpus, tmp_path):
    overrides = ["model.min_pred_var=50", "model.collapse_after_updates=1", "optimization.max_update=4"]
    process = train("pretraining_AS2M", tmp_path, f"task.data={corpus}", *overrides, *TINY_NETWORK)
    assert process.returncode != 0
    assert "pred_var is" in process.stderr and "model.min_pred_var=50" in process.stderr


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["task.data=/nowhere"], "/nowhere/train.tsv"),
        (["task.data={corpus}", "task.dataset=esc51"], 'unknown data set "esc51"'),
        (["task.data={corpus}", "model.layerdrop=0.1"], "layerdrop"),
        (["task.data={corpus}", "task.target_length=1040"], "1040 frames has 65 patch rows, the position table 64"),
    ],
)
def test_pretraining__bad_settings_end_with_a_message(corpus, tmp_path, overrides, message):
    filled = [override.format(corpus=corpus) for override in overrides]
    process = train("pretraining_AS2M", tmp_path, "optimization.max_update=2", *TINY_NETWORK, *filled)
    assert process.returncode != 0
    assert message in process.stdout + process.stderr
    assert not list(tmp_path.glob("checkpoint*.pt"))


def test_eval__agrees_with_the_validation_of_the_run(corpus, finetuned, num_classes, tmp_path):
    table = tmp_path / "ap.csv"
    flags = ["--checkpoint_dir", finetuned / "checkpoint_last.pt", "--eval_dir", corpus, "--device", "cpu"]
    labels = ["--label_file", corpus / "label_descriptors.csv", "--model_dir", ROOT / "ASDA", "--batch_size", 8]
    process = assert_ok(run(["bash", ROOT / "eval.sh", *flags, *labels, "--ap_log_path", table]))
    reported = float(re.search(r"mAP: ([0-9.]+)", process.stdout)[1])
    *_, last = log_lines(finetuned, "eval")
    assert reported == pytest.approx(float(last["eval_mAP"]), abs=1e-4)
    rows = list(csv.DictReader(table.open()))
    assert len(rows) == num_classes
    assert np.mean([float(row["average_precision"]) for row in rows]) == pytest.approx(reported, abs=1e-4)


@pytest.mark.parametrize(("mode", "run_folder"), [("pretrain", "pretrained"), ("finetune", "finetuned")])
def test_feature_extract__writes_what_the_loader_computes(mode, run_folder, corpus, request, tmp_path):
    checkpoint = request.getfixturevalue(run_folder) / "checkpoint_last.pt"
    clip = next((corpus / "eval").glob("*.flac"))
    expected = load_encoder(checkpoint).features(clip)
    flags = ["--checkpoint_dir", checkpoint, "--source_file", clip, "--model_dir", ROOT / "ASDA", "--mode", mode]
    for granularity, shape in (("all", (1 + 64, 32)), ("frame", (64, 32)), ("utterance", (32,))):
        target = tmp_path / f"{granularity}.npy"
        more = ["--target_file", target, "--granularity", granularity, "--target_length", 128]
        assert_ok(run(["bash", ROOT / "feature_extract.sh", *flags, *more]))
        features = np.load(target)
        assert features.shape == shape
        rows = {"all": expected, "frame": expected[1:], "utterance": expected[0]}[granularity]
        np.testing.assert_allclose(features, rows.numpy(), atol=1e-5)


def test_inference__prints_the_best_classes(corpus, finetuned):
    clip = next((corpus / "eval").glob("*.wav"))
    flags = ["--checkpoint_dir", finetuned / "checkpoint_last.pt", "--source_file", clip, "--top_k_prediction", 3]
    labels = ["--label_file", corpus / "label_descriptors.csv", "--model_dir", ROOT / "ASDA", "--target_length", 128]
    process = assert_ok(run(["bash", ROOT / "inference.sh", *flags, *labels]))
    rows = re.findall(r"^(\S.*?)\s+([01]\.\d+)$", process.stdout, flags=re.MULTILINE)
    scores = [float(score) for _, score in rows]
    assert len(rows) == 3 and scores == sorted(scores, reverse=True)
    names = {row["display_name"] for row in csv.DictReader((corpus / "label_descriptors.csv").open())}
    assert {name for name, _ in rows} <= names
