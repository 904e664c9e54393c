"""The registered tasks: what a data set's name implies, masks, checkpoint records, metrics over all clips."""

import math
import multiprocessing

import pytest

pytest.importorskip("fairseq", reason="the tasks are fairseq's")

import numpy as np
import soundfile
import torch
from fairseq.dataclass.utils import merge_with_parent
from fairseq.logging import metrics
from fairseq.models import MODEL_DATACLASS_REGISTRY
from fairseq.tasks import TASK_DATACLASS_REGISTRY, TASK_REGISTRY
from omegaconf import OmegaConf

import ASDA  # noqa: F401
from ASDA.audio.fbank import reference_log_mel
from ASDA.core.places import Places
from ASDA.data.labels import LabelError
from ASDA.fairseq_plugin.run.run_config import run_config
from ASDA.masks.chunk import ChunkMask
from ASDA.masks.inverse_block import InverseBlockMask
from ASDA.masks.random import RandomBatchMask, RandomMask
from ASDA.masks.span import SpanMask
from ASDA.metrics import mean_average_precision

MASKS = {
    "patch_size": 16,
    "clone_batch": 3,
    "mask_prob": 0.8,
    "mask_prob_adjust": 0.07,
    "mask_length": 5,
    "inverse_mask": True,
}
CHECKPOINT = {"restore_file": "none", "save_dir": "none", "maximize_best_checkpoint_metric": False}
TINY_MODEL = {
    "depth": 1,
    "embed_dim": 32,
    "num_heads": 4,
    "average_top_k_layers": 1,
    "modalities": {"image": {"max_length": 8, "decoder": {"decoder_dim": 32, "decoder_layers": 1}}},
}


def build(name: str, **overrides):
    """The registered task ``name``, as fairseq.tasks.setup_task would make it."""
    cfg = merge_with_parent(TASK_DATACLASS_REGISTRY[name](), OmegaConf.create({"_name": name, "seed": 1, **overrides}))
    return TASK_REGISTRY[name].setup_task(cfg)


def build_in_run(name: str, model: dict, train_subset: str = "train", checkpoint: dict | None = None, **overrides):
    """The same within the configuration of a run, with a model of this configuration."""
    modes = dict.fromkeys(("amp", "memory_efficient_fp16", "memory_efficient_bf16"), False)
    run = OmegaConf.create(
        {
            "common": modes,
            "checkpoint": {**CHECKPOINT, **(checkpoint or {})},
            "dataset": {"train_subset": train_subset},
            "optimization": {"max_update": 0},
            "distributed_training": {},
            "lr_scheduler": None,
            "optimizer": None,
            "model": model,
            "task": {"_name": name, "seed": 1, **overrides},
        }
    )
    run.task = OmegaConf.merge(OmegaConf.structured(TASK_DATACLASS_REGISTRY[name]), run.task)  # as fairseq completes it
    OmegaConf.set_struct(run, True)
    return TASK_REGISTRY[name].setup_task(merge_with_parent(TASK_DATACLASS_REGISTRY[name](), run.task))


@pytest.fixture
def corpus(tmp_path):
    """Five labelled clips in `eval`, with three classes of which one has no clip."""
    rng = np.random.default_rng(0)
    for split in ("train", "eval"):
        rows, labels = [str(tmp_path)], []
        for clip in range(5):
            soundfile.write(tmp_path / f"{split}{clip}.wav", rng.normal(0, 0.1, 16_000), 16_000)
            rows.append(f"{split}{clip}.wav\t16000")
            labels.append(f"{split}{clip}\t/m/{clip % 2}")
        (tmp_path / f"{split}.tsv").write_text("\n".join(rows) + "\n")
        (tmp_path / f"{split}.lbl").write_text("\n".join(labels) + "\n")
    (tmp_path / "label_descriptors.csv").write_text(
        "index,mid,display_name\n" + "".join(f'{c},/m/{c},"class {c}"\n' for c in range(3))
    )
    return tmp_path


@pytest.mark.parametrize(
    ("overrides", "name", "frames", "mean", "multi_label"),
    [
        ({}, "audioset", 1024, -4.268, True),
        ({"dataset": "esc50"}, "esc50", 512, -6.627, False),
        ({"spcv2_eval": True, "target_length": 128}, "spcv2", 128, -6.846, False),
        ({"fsd50k_eval": True}, "fsd50k", 1024, -7.966, True),
        ({"dataset": "esc50", "norm_mean": -5.0, "target_length": 300}, "esc50", 300, -5.0, False),
        ({"dataset": "esc50", "multi_label": True}, "esc50", 512, -6.627, True),
    ],
)
def test_dataset__name_decides_normalisation_length_and_metric(overrides, name, frames, mean, multi_label):
    task = build("asda_finetuning", **overrides)
    assert task.corpus.name == name
    assert (task.front_end.target_length_frames, task.front_end.norm_mean) == (frames, mean)
    assert task.multi_label is multi_label


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"dataset": "esc51"}, 'unknown data set "esc51"'),
        (
            {"esc50_eval": True, "spcv2_eval": True},
            "task.esc50_eval=true, task.spcv2_eval=true name different data sets",
        ),
        ({"dataset": "fsd50k", "esc50_eval": True}, "task.dataset=fsd50k and task.esc50_eval=true"),
    ],
)
def test_config__contradictions_are_refused_by_name(overrides, message):
    with pytest.raises(ValueError, match=message):
        build("mae_image_classification", **overrides)


@pytest.mark.parametrize(("key", "value"), [("flexible_mask", True), ("subsample", 0.5)])
def test_config__gaps_are_refused_by_name_in_a_run_but_not_in_a_checkpoint(key, value):
    task = build("mae_image_pretraining", **{key: value})
    model = merge_with_parent(MODEL_DATACLASS_REGISTRY["asda"](), OmegaConf.create({"_name": "asda", **TINY_MODEL}))
    task.build_model(model, from_checkpoint=True)
    with pytest.raises(ValueError, match=f"task.{key}={value} is not implemented"):
        task.build_model(model)


@pytest.mark.parametrize(("train_subset", "other"), [("train", "eval"), ("eval", "train")])
def test_load_dataset__the_split_that_a_run_trains_on_may_have_any_name(corpus, train_subset, other):
    settings = {"data": str(corpus), "target_length": 96, "roll_aug": True}
    task = build_in_run("asda_finetuning", {}, train_subset, **settings)
    for split in (train_subset, other):
        task.load_dataset(split)
        dataset, training = task.dataset(split), split == train_subset
        assert (dataset.shuffle, dataset.replace_bad, dataset.augmentation.roll) == (training,) * 3


def test_pretraining_task__batches_hold_masks_for_every_student(corpus):
    task = build("asda_pretraining", data=str(corpus), target_length=208, precompute_mask_config=MASKS)
    task.load_dataset("train")
    dataset = task.dataset("train")
    batch = dataset.collater([dataset[i] for i in (3, 1)])
    assert batch["net_input"]["source"].shape == (2, 1, 208, 128)
    places = Places.from_dict(batch["net_input"]["places"], num_clips=2)
    places.check(2, 13 * 8)
    assert places.students == 3 and places.kept.shape == (6, int(13 * 8 * 0.2))
    assert len({tuple(kept.tolist()) for kept in places.kept}) == 6
    again = dataset.collater([dataset[i] for i in (3, 1)])["net_input"]["places"]
    assert all(torch.equal(again[name], tensor) for name, tensor in places.to_dict().items())
    dataset.set_epoch(2)
    other = dataset.collater([dataset[i] for i in (3, 1)])["net_input"]["places"]
    assert not torch.equal(other["kept"], places.kept)


def test_batch_iterator__an_epoch_leaves_no_workers_behind(corpus):
    task = build("asda_pretraining", data=str(corpus), target_length=96, precompute_mask_config=MASKS)
    task.load_dataset("train")
    dataset, before = task.dataset("train"), set(multiprocessing.active_children())
    for epoch in (1, 2, 3):
        options = {"max_sentences": 2, "epoch": epoch, "num_workers": 2, "data_buffer_size": 2}
        batches = task.get_batch_iterator(dataset, **options).next_epoch_itr()
        assert sum(len(batch["id"]) for batch in batches) == len(dataset)
        assert len(set(multiprocessing.active_children()) - before) == 2
        del batches


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("name", "split"), [("asda_pretraining", "train"), ("asda_finetuning", "train")])
def test_fbank_on_device__gives_the_batches_that_loaders_give(corpus, name, split, dtype):
    options = {"data": str(corpus), "target_length": 208, "roll_aug": True}
    if name == "asda_pretraining":
        options["precompute_mask_config"] = MASKS
    soundfile.write(
        corpus / "train3.wav", np.random.default_rng(1).normal(0.2, 0.1, 9_000), 16_000
    )  # not of one length
    batches = []
    for on_device in (False, True):
        task = build(name, fbank_on_device=on_device, **options)
        task.load_dataset(split)
        dataset = task.dataset(split)
        sample = dataset.collater([dataset[i] for i in range(5)])
        assert ("source" in sample["net_input"]) is not on_device
        batches.append((task.with_spectrograms(sample, torch.nn.Linear(1, 1).to(dtype)), sample))
    (on_loaders, _), (on_device, waveforms) = batches
    assert on_device["net_input"]["source"].dtype == dtype
    # What fairseq does to a batch in half precision must leave the waveforms alone.
    assert waveforms["waveforms"].dtype == torch.float64
    expected = on_loaders["net_input"].pop("source")
    tolerance = 1e-4 if dtype == torch.float32 else 5e-3
    torch.testing.assert_close(on_device["net_input"].pop("source").float(), expected, atol=tolerance, rtol=0)
    assert on_device.keys() == on_loaders.keys()
    assert on_device["net_input"].keys() == on_loaders["net_input"].keys()
    for key, value in on_loaders["net_input"].items():
        other = on_device["net_input"][key]
        pairs = zip(other.values(), value.values(), strict=True) if isinstance(value, dict) else [(other, value)]
        assert all(torch.equal(*map(torch.as_tensor, pair)) for pair in pairs), key


def test_fbank_on_device__noise_on_spectrograms_is_refused(corpus):
    task = build("asda_pretraining", data=str(corpus), precompute_mask_config=MASKS, fbank_on_device=True, noise=True)
    with pytest.raises(ValueError, match="noise=true changes spectrograms, but with fbank_on_device=true"):
        task.load_dataset("train")


def test_pretraining_task__missing_mask_config_is_explained(corpus):
    with pytest.raises(ValueError, match="task.precompute_mask_config is not set"):
        build("asda_pretraining", data=str(corpus)).load_dataset("train")
    with pytest.raises(ValueError, match="expand_adjacent=True is not implemented"):
        masks = {**MASKS, "expand_adjacent": True}
        build("asda_pretraining", data=str(corpus), precompute_mask_config=masks).load_dataset("train")


MODEL_MASKS = {
    "clone_batch": 4,
    "modalities": {
        "image": {
            "patch_size": 16,
            "mask_prob": 0.7,
            "mask_prob_adjust": 0.1,
            "mask_length": 3,
            "inverse_mask": True,
        }
    },
}


@pytest.mark.parametrize(
    ("given", "students", "ratio", "block"),
    [({}, 4, 0.7, 3), ({"mask_prob": 0.5, "clone_batch": None}, 4, 0.5, 3), (MASKS, 3, 0.8, 5)],
    ids=["empty", "partly filled", "filled"],
)
def test_mask_config__takes_what_is_missing_from_the_model(given, students, ratio, block):
    masks = build_in_run("mae_image_pretraining", MODEL_MASKS, precompute_mask_config=given).mask_sampler()
    assert (masks.num_masks, masks.mask_ratio, masks.block_size, masks.grid) == (students, ratio, block, (64, 8))
    assert masks.adjust == (0.07 if given is MASKS else 0.1)


MAE_AST_MODEL = {"random_mask_prob": 0.7, "clone_batch": 2, "mask_length": 12}


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        ("chunk", {}, ChunkMask((64, 8), 2, 0.7)),
        ("chunk_mask", {"chunk_sizes": [2, 6], "mask_prob": 0.5}, ChunkMask((64, 8), 2, 0.5, (2, 6))),
        ("random", {"clone_batch": 3}, RandomMask((64, 8), 3, 0.7)),
        ("random_mask_batched", {}, RandomBatchMask((64, 8), 2, 0.7)),
        ("retain_spans", {}, SpanMask((64, 8), 2, 0.7, 12)),
        ("span", {"mask_length": 4}, SpanMask((64, 8), 2, 0.7, 4)),
        ("inverse_block", {"inverse_mask": False}, InverseBlockMask((64, 8), 2, 0.7, inverse=False)),
    ],
)
def test_mask_type__picks_the_kind_with_settings_of_its_own_and_of_the_model(kind, given, expected):
    given = {"patch_size": 16, **given}
    for name in ("asda_pretraining", "mae_ast_pretraining"):
        task = build_in_run(name, MAE_AST_MODEL, mask_type=kind, precompute_mask_config=given)
        assert task.mask_sampler() == expected


def test_mask_type__of_asdas_recipe_with_other_masks():
    """A recipe states the settings of its own kind, by reference to the model's: they stand in nobody's way."""
    given = {key: MASKS[key] for key in MASKS if key != "clone_batch"}
    model = {"clone_batch": 4, "modalities": {"image": {key: MASKS[key] for key in MASKS if key != "clone_batch"}}}
    task = build_in_run("asda_pretraining", model, mask_type="chunk", precompute_mask_config=given)
    assert task.mask_sampler() == ChunkMask((64, 8), 4, 0.8)
    with pytest.raises(ValueError, match="mask_config.mask_length=3 does nothing for masks of the kind chunk"):
        build_in_run(
            "asda_pretraining", model, mask_type="chunk", precompute_mask_config={**given, "mask_length": 3}
        ).mask_sampler()
    with pytest.raises(ValueError, match='there is no kind of masks "squares"'):
        build_in_run("asda_pretraining", model, mask_type="squares", precompute_mask_config={}).mask_sampler()


FRAME_MODEL = {
    "_name": "mae_ast",
    "ast_kernel_size_time": 2,
    "ast_kernel_size_chan": 128,
    "encoder_layers": 1,
    "encoder_embed_dim": 32,
    "encoder_ffn_embed_dim": 32,
    "encoder_attention_heads": 4,
    "decoder_layers": 1,
    "decoder_embed_dim": 32,
    "max_token_length": 64,
}


def test_masks__are_over_the_patches_of_the_model():
    """Frames: a grid of one column, of whatever length the clips have; a size that contradicts it is refused."""
    model = merge_with_parent(MODEL_DATACLASS_REGISTRY["mae_ast"](), OmegaConf.create(FRAME_MODEL))
    for given, grid in (({}, (49, 1)), ({"patch_size": [2, 128]}, (49, 1)), ({"patch_size": 16}, None)):
        given = {**given, "mask_prob": 0.75, "clone_batch": 1}
        task = build("mae_ast_pretraining", target_length=98, precompute_mask_config=given)
        task.build_model(model)
        if grid is None:
            with pytest.raises(ValueError, match=r"patch_size=16, but the encoder's patches have 2 frames x 128 mel"):
                task.mask_sampler()
        else:
            assert task.mask_sampler().grid == grid


@pytest.mark.parametrize("kind", ["random", "random_batched"])
def test_random_batched__clips_of_a_batch_share_the_masks_of_the_first(corpus, kind):
    task = build(
        "mae_ast_pretraining",
        data=str(corpus),
        target_length=208,
        mask_type=kind,
        precompute_mask_config={"patch_size": 16, "clone_batch": 2, "mask_prob": 0.75},
    )
    task.load_dataset("train")
    dataset = task.dataset("train")

    def kept(*clips):
        return dataset.collater([dataset[clip] for clip in clips])["net_input"]["places"]["kept"]

    first, second = kept(3, 1)[:2], kept(3, 1)[2:]
    assert torch.equal(first, second) is (kind == "random_batched")
    assert torch.equal(first, kept(3)) and not torch.equal(*first)
    dataset.set_epoch(2)
    assert not torch.equal(kept(3), first)


def test_mae_ast_task__spectrograms_are_not_normalised():
    front_end = build("mae_ast_pretraining", target_length=96).front_end
    waveform = 0.1 * torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    expected = reference_log_mel(waveform, window="povey", remove_mean=False)[:96]
    torch.testing.assert_close(front_end(waveform), expected, atol=1e-4, rtol=0)
    assert build("mae_ast_pretraining", max_sample_size=160_000).front_end.target_length_frames == 998


@pytest.mark.parametrize(
    ("key", "value"), [("normalize", True), ("deltas", True), ("min_sample_size", 32_000), ("feature_dim", 80)]
)
def test_mae_ast_task__what_is_not_implemented_is_refused_in_a_run(key, value):
    task = build("mae_ast_pretraining", **{key: value, "target_length": 96})
    model = merge_with_parent(MODEL_DATACLASS_REGISTRY["mae_ast"](), OmegaConf.create(FRAME_MODEL))
    task.build_model(model, from_checkpoint=True)
    with pytest.raises(ValueError, match=f"task.{key}={value} is not implemented"):
        task.build_model(model)


def test_mask_config__what_no_configuration_has_is_named():
    alone = build("asda_pretraining", precompute_mask_config={key: MASKS[key] for key in MASKS if key != "mask_length"})
    with pytest.raises(
        ValueError, match="mask_config.mask_length is not set, .* no model.modalities.image.mask_length"
    ):
        alone.mask_sampler()
    other_model = build_in_run("asda_pretraining", {"_name": "other"}, precompute_mask_config={})
    with pytest.raises(ValueError, match="mask_config.patch_size is not set, .* no model.modalities.image.patch_size"):
        other_model.mask_sampler()
    with pytest.raises(ValueError, match="there is no task.precompute_mask_config.mask_probb; the keys are"):
        build_in_run("asda_pretraining", MODEL_MASKS, precompute_mask_config={"mask_probb": 0.5}).mask_sampler()


def classifier_config(num_classes):
    pretrained = {"model": {"_name": "asda", **TINY_MODEL}}
    cfg = {"_name": "asda_classifier", "num_classes": num_classes, "pretrained_model_args": pretrained}
    return merge_with_parent(MODEL_DATACLASS_REGISTRY["asda_classifier"](), OmegaConf.create(cfg))


def test_finetuning_task__another_number_of_classes_than_the_table_is_refused(corpus):
    task = build("asda_finetuning", data=str(corpus), target_length=64)
    task.build_model(classifier_config(3))
    task = build("asda_finetuning", data=str(corpus), target_length=64)
    with pytest.raises(LabelError, match="model.num_classes=5, but .*label_descriptors.csv has 3 classes"):
        task.build_model(classifier_config(5))


def test_finetuning_task__num_classes_null_is_the_tables(corpus):
    cfg = classifier_config(None)
    build("asda_finetuning", data=str(corpus), target_length=64).build_model(cfg)
    assert cfg.num_classes == 3  # which the checkpoint records


def test_finetuning_task__num_classes_null_is_refused_with_the_table_of_another_data_set(corpus):
    task = build("asda_finetuning", data=str(corpus), dataset="esc50", target_length=64)
    with pytest.raises(LabelError, match=r"ESC-50 .* has 50 classes, but .*label_descriptors.csv has 3; .*=3 if"):
        task.build_model(classifier_config(None))
    task.build_model(classifier_config(3))


@pytest.mark.parametrize("word", ["auto", None])
@pytest.mark.parametrize(
    ("name", "overrides", "expected"),
    [
        ("asda_finetuning", {}, ("mAP", True)),
        ("asda_finetuning", {"dataset": "esc50"}, ("accuracy", True)),
        ("asda_finetuning", {"dataset": "esc50", "multi_label": True}, ("mAP", True)),
        ("asda_pretraining", {}, ("loss", False)),
    ],
)
def test_best_metric__left_open_follows_from_the_labels(name, overrides, expected, word):
    task = build_in_run(name, {}, checkpoint={"best_checkpoint_metric": word}, **overrides)
    found = run_config(task.cfg).checkpoint
    assert (found.best_checkpoint_metric, found.maximize_best_checkpoint_metric) == expected


def test_best_metric__a_stated_one_stays():
    task = build_in_run("asda_finetuning", {}, checkpoint={"best_checkpoint_metric": "loss"}, dataset="esc50")
    found = run_config(task.cfg).checkpoint
    assert (found.best_checkpoint_metric, found.maximize_best_checkpoint_metric) == ("loss", False)


def test_finetuning_task__a_model_without_data_needs_no_table():
    build("asda_finetuning", data="/nowhere").build_model(classifier_config(5), from_checkpoint=True)


def test_finetuning_task__clips_with_several_labels_need_multi_label(corpus):
    labels = corpus / "train.lbl"
    labels.write_text(labels.read_text().replace("train2\t/m/0\n", "train2\t/m/0,/m/2\n"))
    options = {"data": str(corpus), "dataset": "esc50", "target_length": 64}
    task = build("asda_finetuning", **options)
    task.load_dataset("eval")
    with pytest.raises(LabelError) as error:
        task.load_dataset("train")
    for part in ('"train2.wav" (train.tsv:4)', '("class 0", "class 2")', "set task.multi_label=true"):
        assert part in str(error.value)
    build("asda_finetuning", **options, multi_label=True).load_dataset("train")


def test_finetuning_task__clips_without_a_label_need_multi_label(corpus):
    labels = corpus / "train.lbl"
    labels.write_text(
        labels.read_text().replace("train1\t/m/1\n", "train1\t\n").replace("train2\t/m/0\n", "train2\t\n")
    )
    options = {"data": str(corpus), "dataset": "esc50", "target_length": 64}
    with pytest.raises(LabelError) as error:
        build("asda_finetuning", **options).load_dataset("train")
    for part in ('"train1.wav" (train.tsv:3) has no label, and 1 more clips like it', "set task.multi_label=true"):
        assert part in str(error.value)
    task = build("asda_finetuning", **options, multi_label=True)
    task.load_dataset("train")
    assert [int(task.dataset("train")[row]["target"].sum()) for row in range(3)] == [1, 0, 0]


def test_finetuning_task__state_records_front_end_and_labels(corpus):
    task = build("asda_finetuning", data=str(corpus), target_length=96)
    task.load_dataset("eval")
    state = task.state_dict()
    assert state["label_names"] == ["class 0", "class 1", "class 2"]
    assert state["front_end"]["target_length_frames"] == 96
    assert state["front_end"]["norm_mean"] == -4.268
    other = build("asda_finetuning")
    other.load_state_dict(state)
    assert other.state_dict()["label_names"] == state["label_names"]


class Scores(torch.nn.Module):
    """Answers with fixed scores, in the form of the classifier."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self, source, target, seeds, num_labels, ids):
        return {"_scores": self.scores[ids], "_targets": target}


def run_validation(task, scores, batches):
    dataset = task.dataset("eval")
    model = Scores(scores)

    def criterion(model, sample):
        model(**sample["net_input"], ids=sample["id"])
        return torch.tensor(0.0), 1, {"loss": 0.0}

    with metrics.aggregate(new_root=True) as aggregator:
        for batch in batches:
            task.valid_step(dataset.collater([dataset[i] for i in batch]), model, criterion)
    return aggregator.get_smoothed_values()


def test_finetuning_task__map_is_that_of_all_clips_at_once(corpus):
    task = build("asda_finetuning", data=str(corpus), target_length=64)
    task.load_dataset("eval")
    scores = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    # The last batch repeats clips, as fairseq's dummy batches do on a process that has run out.
    values = run_validation(task, scores, [[0, 1], [2, 3], [4], [0, 1]])
    targets = np.eye(3)[[0, 1, 0, 1, 0]]
    expected = mean_average_precision(targets, scores.numpy())
    assert values["mAP"] == pytest.approx(expected.value, abs=1e-5)
    assert isinstance(values["mAP"], float) and not math.isnan(values["mAP"])
    assert values["classes_left_out"] == 1
    assert values["clips"] == 5


@pytest.fixture
def partly_judged(corpus):
    """Of the clips of `eval` each was judged for two of the three classes; one has neither."""
    lines = (f"eval{clip}\t/m/{clip % 2}\t/m/{clip % 2 + 1}\n" for clip in (0, 1, 3, 4))
    (corpus / "eval.lbl").write_text("".join(lines) + "eval2\t\t/m/0,/m/1\n")
    return corpus


def test_finetuning_task__map_is_over_what_was_judged(partly_judged):
    task = build("asda_finetuning", data=str(partly_judged), target_length=64)
    task.load_dataset("eval")
    scores = torch.rand(5, 3, generator=torch.Generator().manual_seed(0))
    values = run_validation(task, scores, [[0, 1], [2, 3], [4], [0, 1]])
    nan = math.nan
    targets = [[1, 0, nan], [nan, 1, 0], [0, 0, nan], [nan, 1, 0], [1, 0, nan]]
    assert values["mAP"] == pytest.approx(mean_average_precision(targets, scores.numpy()).value, abs=1e-5)
    assert values["classes_left_out"] == 1 and values["clips"] == 5


def test_finetuning_task__partial_labels_need_a_question_for_each_class(partly_judged):
    options = {"data": str(partly_judged), "target_length": 64}
    with pytest.raises(LabelError, match="labels are partial, .* set task.multi_label=true"):
        build("asda_finetuning", **options, dataset="esc50").load_dataset("eval")
    softmax = {"_name": "asda_classifier", "loss": "cross_entropy", "model_path": None}
    task = build_in_run("asda_finetuning", softmax, **options, multi_label=True)
    with pytest.raises(LabelError, match="labels of eval are partial: .* take model.loss=bce"):
        task.load_dataset("eval")


def test_finetuning_task__partial_labels_are_several_per_clip(partly_judged):
    (partly_judged / "train.lbl").write_text("".join(f"train{i}\t/m/{i % 3}\t/m/{(i + 1) % 3}\n" for i in range(5)))
    model = {"_name": "asda_classifier", "loss": "auto", "model_path": None}
    assert build_in_run("asda_finetuning", model, data=str(partly_judged), target_length=64).multi_label is True


def test_finetuning_task__accuracy_for_single_labels(corpus):
    task = build("asda_finetuning", data=str(corpus), dataset="esc50", target_length=64)
    task.load_dataset("eval")
    scores = torch.eye(3)[[0, 1, 0, 0, 2]]  # clips 3 and 4 are wrong
    values = run_validation(task, scores, [[0, 1, 2], [3, 4]])
    assert values["accuracy"] == pytest.approx(0.6)
    assert "mAP" not in values
