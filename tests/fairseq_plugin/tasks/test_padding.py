"""task.padding: what a run hears of clips that are shorter than its input, and what its checkpoints say of it."""

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf

from ASDA.audio.front_end import FrontEnd
from ASDA.core.places import Places
from ASDA.fairseq_plugin.tasks.front_end import front_end_of
from tests.architectures import encoder_config

from .test_tasks import MASKS, build, classifier_config, corpus  # noqa: F401 - corpus is a fixture


@pytest.fixture
def clips(corpus):  # noqa: F811
    """The corpus with two short clips: 48 and 23 frames instead of 98."""
    for clip, samples in ((1, 8_000), (3, 4_000)):
        for split in ("train", "eval"):
            sound = np.random.default_rng(clip).normal(0, 0.1, samples)
            soundfile.write(corpus / f"{split}{clip}.wav", sound, 16_000)
    return corpus


def batch_of(task, rows, split="train"):
    task.load_dataset(split)
    dataset = task.dataset(split)
    return dataset.collater([dataset[row] for row in rows])


def task_of(name, clips, padding, **options):
    masks = {"precompute_mask_config": MASKS} if name == "asda_pretraining" else {}
    task = build(name, data=str(clips), target_length=96, padding=padding, **masks, **options)
    if name == "asda_finetuning":
        model = classifier_config(3)
        model.encoder = OmegaConf.create(encoder_config(embed_dim=32, depth=1, num_heads=4).to_dict())
        task.build_model(model)
    return task


@pytest.mark.parametrize("padding", [None, "constant"])
@pytest.mark.parametrize("name", ["asda_pretraining", "asda_finetuning"])
def test_padding__constant_is_what_nothing_says(name, padding, clips):
    batch = batch_of(task_of(name, clips, padding), [1, 3])["net_input"]
    assert batch["source"].shape == (2, 1, 96, 128) and "padding_mask" not in batch
    assert "padding" not in batch.get("places", {})
    assert "padding" not in build(name, padding=padding).state_dict()["front_end"]


def test_padding__mask_in_pretraining(clips):
    batch = batch_of(task_of("asda_pretraining", clips, "mask"), [1, 3])["net_input"]
    assert batch["source"].shape == (2, 1, 48, 128)
    places = Places.from_dict(batch["places"], 2)
    assert places.padding.sum(dim=1).tolist() == [0, 8]
    places.check(2, 24, may_be_padded=True)


@pytest.mark.parametrize("split", ["train", "eval"])
def test_padding__mask_in_finetuning_and_its_validation(split, clips):
    batch = batch_of(task_of("asda_finetuning", clips, "mask"), [0, 1, 3], split)["net_input"]
    assert batch["source"].shape == (3, 1, 96, 128)
    assert batch["padding_mask"].sum(dim=1).tolist() == [0, 3 * 8, 4 * 8]


@pytest.mark.parametrize("name", ["asda_pretraining", "asda_finetuning"])
def test_padding__mask_is_recorded(name):
    assert build(name, padding="mask").state_dict()["front_end"]["padding"] == "mask"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, "mask"),
        ({"dataset": "spcv2"}, "mask"),  # a data set has a length and statistics of its own, but no padding
        ({"padding": "constant"}, "constant"),
        ({"dataset": "spcv2", "padding": "constant"}, "constant"),
    ],
)
def test_padding__is_the_checkpoints_unless_told_otherwise(options, expected):
    cfg = build("asda_finetuning", **options).cfg
    assert front_end_of(cfg, FrontEnd(128, padding="mask")).padding == expected
    assert front_end_of(cfg).padding == "constant"


@pytest.mark.parametrize("name", ["asda_pretraining", "asda_finetuning"])
def test_padding__mask_with_the_front_end_on_the_device(name, clips):
    on_loaders, on_device = (
        batch_of(task_of(name, clips, "mask", fbank_on_device=where), [1, 3]) for where in (False, True)
    )
    found = task_of(name, clips, "mask").with_spectrograms(on_device, torch.nn.Linear(1, 1))["net_input"]
    assert found.keys() == on_loaders["net_input"].keys()
    torch.testing.assert_close(found["source"], on_loaders["net_input"]["source"], rtol=0, atol=1e-3)


def test_padding__another_word_is_refused_in_one_line():
    with pytest.raises(Exception, match=r"Invalid value 'own', expected one of \[constant, mask\]"):
        build("asda_pretraining", padding="own")


def test_padding__mask_before_there_is_a_model_is_refused(clips):
    task = build("asda_finetuning", data=str(clips), target_length=96, padding="mask")
    with pytest.raises(ValueError, match="task.padding=mask needs the model's patches: build the model before"):
        task.load_dataset("train")
