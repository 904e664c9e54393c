"""asda-infer, against the classifier called by hand."""

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.fbank import reference_log_mel
from ASDA.audio.front_end import FrontEnd, fit_length, normalise
from ASDA.audio.io import load_waveform
from ASDA.cli.convert import main as convert
from ASDA.cli.infer import main
from ASDA.inference import load_classifier
from ASDA.inference.model import TrainedClassifier
from tests.cli.conftest import CLASSES, json_lines
from tests.published_files import published_finetuned


def logits_by_hand(path, checkpoint, target_length=96):
    frames = fit_length(reference_log_mel(load_waveform(path)), target_length)
    with torch.no_grad():
        return load_classifier(checkpoint).logits(normalise(frames, -4.268, 4.569)[None, None])[0]


def test_infer__flags_and_table_of_eats_program(corpus, models, run):
    flags = ["--source_file", corpus / "clip_4.wav", "--label_file", corpus / "label_descriptors.csv"]
    flags += ["--model_dir", "EAT", "--checkpoint_dir", models.finetuned, "--target_length", 96]
    result = run(main, *flags, "--top_k_prediction", 2)
    assert result.code == 0
    scores = logits_by_hand(corpus / "clip_4.wav", models.finetuned).sigmoid()
    expected = [(CLASSES[index], f"{scores[index]:.4f}") for index in scores.argsort(descending=True)[:2]]
    lines = result.out.strip().splitlines()
    assert lines[1].split() == ["LABEL", "PREDICTION"]
    assert [tuple(line.rsplit(None, 1)) for line in lines[2:]] == expected


def test_infer__json_of_several_clips(corpus, models, run):
    result = run(main, corpus, "--checkpoint", models.finetuned, "--json", "--batch_size", 4)
    records = json_lines(result.out)
    assert [record["path"] for record in records] == sorted(record["path"] for record in records)
    assert len(records) == 9
    for record in records:
        scores = logits_by_hand(record["path"], models.finetuned).sigmoid()
        assert [p["index"] for p in record["predictions"]] == scores.argsort(descending=True).tolist()
        assert [p["label"] for p in record["predictions"]] == [f"class {p['index']}" for p in record["predictions"]]
        found = [p["score"] for p in record["predictions"]]
        np.testing.assert_allclose(found, scores.sort(descending=True).values, atol=1e-4)
    assert records[0]["duration_s"] == pytest.approx(0.5, abs=0.03)


def test_infer__threshold_leaves_out_the_rest(corpus, models, run):
    every = json_lines(run(main, corpus / "clip_0.wav", "--checkpoint", models.finetuned, "--json").out)[0][
        "predictions"
    ]
    limit = (every[0]["score"] + every[1]["score"]) / 2
    result = run(main, corpus / "clip_0.wav", "--checkpoint", models.finetuned, "--json", "--threshold", limit)
    assert json_lines(result.out)[0]["predictions"] == every[:1]


@pytest.mark.parametrize(("flag", "kind"), [("auto", "softmax"), ("softmax", "softmax"), ("sigmoid", "sigmoid")])
def test_infer__scores_as_trained_unless_asked(tmp_path, corpus, run, flag, kind):
    state = published_finetuned(num_classes=3, task={"target_length": 96, "esc50_eval": True}, model={"mixup": 0.0})
    torch.save(state, tmp_path / "esc.pt")
    flags = [corpus / "clip_0.wav", "--checkpoint", tmp_path / "esc.pt", "--json", "--scores", flag]
    found = json_lines(run(main, *flags, "--norm_mean", -4.268, "--norm_std", 4.569).out)[0]["predictions"]
    logits = logits_by_hand(corpus / "clip_0.wav", tmp_path / "esc.pt")
    expected = logits.softmax(0) if kind == "softmax" else logits.sigmoid()
    np.testing.assert_allclose([p["score"] for p in found], expected.sort(descending=True).values, atol=1e-4)


def test_infer__segments_find_the_event_where_it_is(tmp_path, models, run, monkeypatch):
    """A classifier that hears loudness tells when, in 6 s of near silence, the noise from 2 to 3.5 s is there."""
    rng = np.random.default_rng(0)
    samples = 1e-4 * rng.standard_normal(96_000)
    samples[32_000:56_000] += 0.3 * rng.standard_normal(24_000)
    soundfile.write(tmp_path / "long.wav", samples, 16_000)

    def loudness(_model, spectrogram, _padding_mask):
        loud = 20 * spectrogram.mean(dim=(1, 2, 3))
        return torch.stack([loud, -loud, torch.full_like(loud, -30.0)], dim=1)

    monkeypatch.setattr("ASDA.inference.model.TrainedClassifier.logits", loudness)
    flags = [tmp_path / "long.wav", "--checkpoint", models.finetuned, "--segments", "--hop", 0.1]
    flags += ["--target_length", 50, "--threshold", 0.5]
    record = json_lines(run(main, *flags, "--json").out)[0]
    loud = [event for event in record["segments"] if event["index"] == 0]
    quiet = [event for event in record["segments"] if event["index"] == 1]
    assert len(loud) == 1 and len(quiet) == 2 and len(record["segments"]) == 3
    assert loud[0]["start_s"] == pytest.approx(2.0, abs=0.5) and loud[0]["end_s"] == pytest.approx(3.5, abs=0.5)
    assert quiet[0]["start_s"] == 0.0 and quiet[1]["end_s"] == pytest.approx(5.98)
    assert 0.99 < loud[0]["score"] <= 1.0
    table = run(main, *flags).out.strip().splitlines()
    assert table[1].split() == ["START", "END", "LABEL", "PREDICTION"] and len(table) == 2 + 3


def test_infer__long_clip_is_the_mean_of_its_windows(tmp_path, corpus, models, run):
    samples = np.concatenate([soundfile.read(corpus / name)[0] for name in ("clip_8.wav", "clip_4.wav")])
    soundfile.write(tmp_path / "long.wav", samples, 16_000)
    flags = ["--checkpoint", models.finetuned, "--json", "--target_length", 48]
    windows = json_lines(run(main, tmp_path / "long.wav", *flags, "--long", "windows").out)[0]
    crop = run(main, tmp_path / "long.wav", *flags)
    assert "1 clips are longer than the window of 0.48 s" in crop.err
    assert json_lines(crop.out)[0]["predictions"] != windows["predictions"]
    by_hop = json_lines(run(main, tmp_path / "long.wav", *flags, "--hop", 0.24).out)[0]
    assert by_hop == windows  # half of the window is what --long windows means


def test_infer__refuses_a_label_file_in_another_order(tmp_path, corpus, models, run):
    table = corpus / "label_descriptors.csv"
    assert convert([str(models.finetuned), str(tmp_path / "p.pt"), "--to", "project", "--label_file", str(table)]) == 0
    clip = corpus / "clip_0.wav"
    assert "bark" in run(main, clip, "--checkpoint", tmp_path / "p.pt").out  # names come from the checkpoint
    assert run(main, clip, "--checkpoint", tmp_path / "p.pt", "--label_file", table).code == 0
    swapped = tmp_path / "swapped.csv"
    swapped.write_text('index,mid,display_name\n0,/m/0,"bark"\n1,/m/2,"rain"\n2,/m/1,"meow, purr"\n')
    result = run(main, clip, "--checkpoint", tmp_path / "p.pt", "--label_file", swapped)
    assert result.code == 1 and result.out == ""
    assert f'{swapped}: class 1 is "rain"' in result.err and '"meow, purr"' in result.err
    (tmp_path / "two.csv").write_text('index,mid,display_name\n0,/m/0,"bark"\n1,/m/2,"rain"\n')
    result = run(main, clip, "--checkpoint", models.finetuned, "--label_file", tmp_path / "two.csv")
    assert result.code == 1 and "2 classes, but" in result.err


def test_infer__bad_clips_do_not_stop_the_others(tmp_path, corpus, models, run):
    (corpus / "clip_2.wav").write_text("not audio\n")
    result = run(main, corpus, "--checkpoint", models.finetuned, "--json", "--errors", tmp_path / "errors.tsv")
    assert result.code == 2 and len(json_lines(result.out)) == 8
    assert "1 of 9 clips could not be read" in result.err
    assert (tmp_path / "errors.tsv").read_text().startswith(f"{corpus}/clip_2.wav\t")


def test_infer__a_pretrained_encoder_has_no_classes(corpus, models, run):
    result = run(main, corpus / "clip_0.wav", "--checkpoint", models.pretrained)
    assert result.code == 1 and "without a classification head" in result.err


def test_infer__without_input_is_a_usage_error(models, capsys):
    with pytest.raises(SystemExit):
        main(["--checkpoint", str(models.finetuned)])
    assert "name an input" in capsys.readouterr().err


def test_infer__a_clip_whose_scores_are_not_finite_is_a_bad_one(corpus, models, run, monkeypatch):
    own = TrainedClassifier.logits

    def spoilt(model, spectrogram, padding_mask):
        shortest = spectrogram[:, 0, 55, :1] == spectrogram[:, 0, -1, :1]  # it is padding from there on
        return torch.where(shortest, float("nan"), own(model, spectrogram, padding_mask))

    monkeypatch.setattr("ASDA.inference.model.TrainedClassifier.logits", spoilt)
    result = run(main, corpus, "--checkpoint", models.finetuned, "--json", "--target_length", 96)
    assert result.code == 2 and len(json_lines(result.out)) == 8
    assert "clip_0.wav: the model's output holds NaN or infinity" in result.err


def test_infer__no_clip_with_finite_scores_is_an_error(corpus, models, run):
    for flags in (["--norm_std", 1e-38], ["--norm_std", 1e-38, "--half"]):
        result = run(main, corpus, "--checkpoint", models.finetuned, "--json", *flags)
        assert result.code == 1 and result.out == "" and "no clip is left" in result.err


@pytest.mark.parametrize(
    ("flag", "value", "message"),
    [
        ("--norm_mean", "nan", "norm_mean must be a finite number, got nan"),
        ("--norm_std", "inf", "norm_std must be positive and finite, got inf"),
    ],
)
def test_infer__normalisation_that_is_not_finite_is_refused(corpus, models, run, flag, value, message):
    result = run(main, corpus, "--checkpoint", models.finetuned, flag, value)
    assert result.code == 1 and message in result.err


@pytest.mark.parametrize("flag", ["--threshold", "--hop"])
def test_infer__a_threshold_or_hop_that_is_not_finite_is_a_usage_error(corpus, models, capsys, flag):
    with pytest.raises(SystemExit):
        main([str(corpus), "--checkpoint", str(models.finetuned), flag, "nan"])
    assert "expected a finite number, got nan" in capsys.readouterr().err


def test_infer__pads_as_the_model_was_trained_unless_told_otherwise(tmp_path, corpus, models, run):
    state = torch.load(models.finetuned, weights_only=True)
    state["task_state"] = {"front_end": FrontEnd(96, padding="mask").to_dict()}
    torch.save(state, tmp_path / "masked.pt")

    def scores(checkpoint, *flags):
        result = run(main, corpus / "clip_0.wav", corpus / "clip_2.wav", "--checkpoint", checkpoint, "--json", *flags)
        assert result.code == 0
        return [[p["score"] for p in record["predictions"]] for record in json_lines(result.out)]

    masked, constant = (scores(models.finetuned, "--padding", word) for word in ("mask", "constant"))
    assert scores(models.finetuned) == constant and scores(tmp_path / "masked.pt") == masked != constant
    assert scores(tmp_path / "masked.pt", "--padding", "constant") == constant
    for layout in ("directory", "huggingface", "published"):
        assert convert([str(tmp_path / "masked.pt"), str(tmp_path / layout), "--to", layout]) == 0
        assert scores(tmp_path / layout) == masked
