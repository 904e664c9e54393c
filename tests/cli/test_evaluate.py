"""asda-eval, against metrics of scores worked out by hand."""

import csv
import json

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from ASDA.cli.evaluate import main
from tests.cli.conftest import CLASSES
from tests.cli.test_infer import logits_by_hand
from tests.published_files import published_finetuned


def clips_and_targets(corpus):
    paths = [corpus / line.split("\t")[0] for line in (corpus / "eval.tsv").read_text().splitlines()[1:]]
    targets = np.zeros((9, 3))
    for number in range(9):
        targets[number, number % 3] = 1
    targets[3, 1] = 1
    return paths, targets


def scores_by_hand(paths, checkpoint):
    return torch.stack([logits_by_hand(path, checkpoint).sigmoid() for path in paths]).numpy()


def test_evaluate__flags_and_numbers_of_eats_program(tmp_path, corpus, models, run):
    flags = ["--label_file", corpus / "label_descriptors.csv", "--eval_dir", corpus, "--model_dir", "EAT"]
    flags += ["--checkpoint_dir", models.finetuned, "--target_length", 96, "--device", "cpu", "--batch_size", 4]
    flags += ["--norm_mean", -4.268, "--norm_std", 4.569, "--ap_log_path", tmp_path / "log" / "ap.csv"]
    result = run(main, *flags)
    assert result.code == 0
    paths, targets = clips_and_targets(corpus)
    scores = scores_by_hand(paths, models.finetuned)
    precision = [average_precision_score(targets[:, c], scores[:, c]) for c in range(3)]
    auc = [roc_auc_score(targets[:, c], scores[:, c]) for c in range(3)]
    assert f"mAP: {np.mean(precision):.5f}  (95 % interval " in result.out
    assert f"AUC: {np.mean(auc):.5f}" in result.out and "d_prime: " in result.out and "clips: 9" in result.out
    assert "accuracy" not in result.out  # several labels per clip
    rows = list(csv.DictReader((tmp_path / "log" / "ap.csv").open()))
    assert [row["display_name"] for row in rows] == CLASSES
    assert [int(row["positives"]) for row in rows] == [3, 4, 3]
    np.testing.assert_allclose([float(row["average_precision"]) for row in rows], precision, atol=1e-6)
    np.testing.assert_allclose([float(row["auc"]) for row in rows], auc, atol=1e-6)


def test_evaluate__single_label_data_has_accuracy(tmp_path, corpus, run):
    (corpus / "eval.lbl").write_text((corpus / "eval.lbl").read_text().replace(",/m/1", ""))
    torch.save(published_finetuned(num_classes=3, task={"spcv2_eval": True, "target_length": 96}), tmp_path / "spc.pt")
    flags = ["--eval_dir", corpus, "--checkpoint", tmp_path / "spc.pt", "--norm_mean", -4.268, "--norm_std", 4.569]
    result = run(main, *flags, "--json", "--ap_log_path", tmp_path / "ap.csv")
    report = json.loads(result.out)
    paths, targets = clips_and_targets(corpus)
    targets[3, 1] = 0
    guesses = scores_by_hand(paths, tmp_path / "spc.pt").argmax(axis=1)
    truth = targets.argmax(axis=1)
    assert report["accuracy"]["value"] == pytest.approx((guesses == truth).mean())
    assert report["accuracy"]["low"] <= report["accuracy"]["value"] <= report["accuracy"]["high"]
    rows = list(csv.DictReader((tmp_path / "ap.csv").open()))
    found = [float(row["accuracy"]) for row in rows]
    np.testing.assert_allclose(found, [(guesses[truth == c] == c).mean() for c in range(3)], atol=1e-6)


def test_evaluate__confusion_matrix_of_single_label_data(tmp_path, corpus, run):
    (corpus / "eval.lbl").write_text((corpus / "eval.lbl").read_text().replace(",/m/1", ""))
    torch.save(published_finetuned(num_classes=3, task={"spcv2_eval": True, "target_length": 96}), tmp_path / "spc.pt")
    flags = ["--eval_dir", corpus, "--checkpoint", tmp_path / "spc.pt", "--norm_mean", -4.268, "--norm_std", 4.569]
    assert run(main, *flags, "--bootstrap", 0, "--confusion", tmp_path / "confusion.csv").code == 0
    paths, targets = clips_and_targets(corpus)
    targets[3, 1] = 0
    guesses = scores_by_hand(paths, tmp_path / "spc.pt").argmax(axis=1)
    heading, *rows = list(csv.reader((tmp_path / "confusion.csv").open()))
    assert heading[1:] == [row[0] for row in rows] == CLASSES
    expected = [[int(((targets.argmax(axis=1) == c) & (guesses == g)).sum()) for g in range(3)] for c in range(3)]
    assert [[int(count) for count in row[1:]] for row in rows] == expected and np.sum(expected) == 9
    again = run(main, *flags, "--bootstrap", 0, "--confusion", tmp_path / "confusion.csv")
    assert again.code == 0, "its own output is replaced"
    other = run(main, *flags, "--confusion", corpus / "eval.tsv")
    assert other.code == 1 and "is not a confusion matrix" in other.err


def test_evaluate__confusion_matrix_of_clips_with_several_labels_is_refused(tmp_path, corpus, models, run):
    flags = ["--eval_dir", corpus, "--checkpoint", models.finetuned, "--confusion", tmp_path / "confusion.csv"]
    result = run(main, *flags)
    assert result.code == 1 and "eval.lbl has clips with several labels" in result.err
    assert not (tmp_path / "confusion.csv").exists()


def test_evaluate__clips_without_a_label_are_negatives_of_every_class(corpus, models, run):
    (corpus / "eval.lbl").write_text((corpus / "eval.lbl").read_text().replace("clip_4\t/m/1", "clip_4\t"))
    result = run(main, "--eval_dir", corpus, "--checkpoint", models.finetuned, "--json", "--bootstrap", 0)
    assert result.code == 0 and "1 clips have no label: they count as negatives of every class\n" in result.err
    paths, targets = clips_and_targets(corpus)
    targets[4] = 0
    scores = scores_by_hand(paths, models.finetuned)
    report = json.loads(result.out)
    expected = np.mean([average_precision_score(targets[:, c], scores[:, c]) for c in range(3)])
    assert report["mAP"]["value"] == pytest.approx(expected) and report["clips"] == 9


@pytest.mark.parametrize("unlabelled", [[4], range(9)], ids=["one", "all"])
def test_evaluate__accuracy_leaves_clips_without_a_label_out(tmp_path, corpus, run, unlabelled):
    lines = (corpus / "eval.lbl").read_text().replace(",/m/1", "").splitlines()
    lines = [line.split("\t")[0] + "\t" if row in unlabelled else line for row, line in enumerate(lines)]
    (corpus / "eval.lbl").write_text("\n".join(lines) + "\n")
    torch.save(published_finetuned(num_classes=3, task={"spcv2_eval": True, "target_length": 96}), tmp_path / "spc.pt")
    flags = ["--eval_dir", corpus, "--checkpoint", tmp_path / "spc.pt", "--norm_mean", -4.268, "--norm_std", 4.569]
    result = run(main, *flags, "--json", "--bootstrap", 10, "--confusion", tmp_path / "confusion.csv")
    assert result.code == 0 and "accuracy leaves them out" in result.err
    paths, targets = clips_and_targets(corpus)
    targets[3, 1] = 0
    kept = [row for row in range(9) if row not in unlabelled]
    right = scores_by_hand(paths, tmp_path / "spc.pt").argmax(axis=1) == targets.argmax(axis=1)
    expected = pytest.approx(right[kept].mean()) if kept else None
    assert json.loads(result.out)["accuracy"]["value"] == expected
    counted = [row[1:] for row in csv.reader((tmp_path / "confusion.csv").open())][1:]
    assert np.array(counted, dtype=int).sum() == len(kept)


def test_evaluate__unreadable_clips_are_listed_counted_and_left_out(corpus, models, run):
    (corpus / "clip_0.wav").write_text("not audio")
    (corpus / "clip_6.wav").unlink()
    result = run(main, "--eval_dir", corpus, "--checkpoint", models.finetuned, "--json", "--bootstrap", 0)
    assert result.code == 2
    report = json.loads(result.out)
    assert (report["clips"], report["unreadable"]) == (7, 2)
    assert "clip_0.wav" in result.err and "clip_6.wav: no such file" in result.err
    paths, targets = clips_and_targets(corpus)
    kept = [1, 2, 3, 4, 5, 7, 8]
    scores = scores_by_hand([paths[index] for index in kept], models.finetuned)
    expected = np.mean([average_precision_score(targets[kept, c], scores[:, c]) for c in range(3)])
    assert report["mAP"] == {"value": pytest.approx(expected)}


def test_evaluate__classes_without_a_positive_are_left_out_and_counted(corpus, models, run):
    labels = (corpus / "eval.lbl").read_text().replace("/m/2", "/m/0")
    (corpus / "eval.lbl").write_text(labels)
    report = json.loads(
        run(main, "--eval_dir", corpus, "--checkpoint", models.finetuned, "--json", "--bootstrap", 0).out
    )
    assert report["classes_left_out"] == 1 and 0 < report["mAP"]["value"] <= 1


def test_evaluate__json_has_null_where_a_metric_is_not_defined(corpus, models, run):
    labels = (corpus / "eval.lbl").read_text()
    names = [line.split("\t")[0] for line in labels.splitlines()]
    (corpus / "eval.lbl").write_text("".join(f"{name}\t/m/0,/m/1,/m/2\n" for name in names))
    flags = ["--eval_dir", corpus, "--checkpoint", models.finetuned, "--json", "--bootstrap", 0]
    report = json.loads(run(main, *flags).out, parse_constant=lambda text: pytest.fail(f"{text} is not json"))
    assert report["AUC"] == {"value": None}


def test_evaluate__labels_follow_the_clips_not_the_lines(corpus, models, run):
    flags = ["--eval_dir", corpus, "--checkpoint", models.finetuned, "--json", "--bootstrap", 0]
    before = json.loads(run(main, *flags).out)
    lines = (corpus / "eval.lbl").read_text().splitlines()
    (corpus / "eval.lbl").write_text("\n".join(reversed(lines)) + "\n")
    assert json.loads(run(main, *flags).out) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda corpus: (corpus / "eval.lbl").unlink(), "eval.lbl: no such file"),
        (lambda corpus: (corpus / "eval.tsv").unlink(), "eval.tsv: no such manifest"),
        (lambda corpus: (corpus / "label_descriptors.csv").unlink(), "no such label table"),
        (
            lambda corpus: (corpus / "eval.lbl").write_text(
                (corpus / "eval.lbl").read_text().replace("/m/2", "/m/9", 1)
            ),
            'label "/m/9" (eval.lbl:3) is not in',
        ),
        (lambda corpus: [path.write_text("x") for path in corpus.rglob("*.[wf][al]*")], "none of its 9 clips"),
    ],
)
def test_evaluate__broken_data_end_in_one_line(corpus, models, run, change, message):
    change(corpus)
    result = run(main, "--eval_dir", corpus, "--checkpoint", models.finetuned)
    assert result.code == 1 and message in result.err and result.out == ""


def test_evaluate__json_has_null_where_d_prime_is_infinite(corpus, models, run):
    paths, targets = clips_and_targets(corpus)
    scores = scores_by_hand(paths, models.finetuned)
    best = scores >= np.median(scores, axis=0)  # an AUC of 1 in every class
    names = [line.split("\t")[0] for line in (corpus / "eval.lbl").read_text().splitlines()]
    kept = [row for row in range(len(names)) if best[row].any()]
    rows = (corpus / "eval.tsv").read_text().splitlines()
    (corpus / "eval.tsv").write_text("\n".join([rows[0], *(rows[1 + row] for row in kept)]) + "\n")
    lines = (f"{names[row]}\t{','.join(f'/m/{c}' for c in np.flatnonzero(best[row]))}\n" for row in kept)
    (corpus / "eval.lbl").write_text("".join(lines))
    result = run(main, "--eval_dir", corpus, "--checkpoint", models.finetuned, "--json", "--bootstrap", 20)
    report = json.loads(result.out, parse_constant=lambda text: pytest.fail(f"{text} is not json"))
    assert report["AUC"]["value"] == 1.0 and report["d_prime"]["value"] is None


def test_evaluate__scores_that_are_not_finite_are_an_error(corpus, models, run):
    result = run(main, "--eval_dir", corpus, "--checkpoint", models.finetuned, "--norm_std", 1e-38)
    assert result.code == 1 and "none of its 9 clips" in result.err and "NaN or infinity" in result.err


def test_evaluate__what_was_not_judged_enters_no_metric(tmp_path, corpus, models, run):
    names = [line.split("\t")[0] for line in (corpus / "eval.lbl").read_text().splitlines()]
    paths, targets = clips_and_targets(corpus)
    for number, c in ((0, 1), (3, 0), (5, 0), (7, 2)):
        targets[number, c] = np.nan
    columns = ([",".join(f"/m/{c}" for c in np.flatnonzero(targets[i] == t)) for i in range(9)] for t in (1, 0))
    lines = ["\t".join(parts) for parts in zip(names, *columns, strict=True)]
    (corpus / "eval.lbl").write_text("\n".join(lines) + "\n")
    flags = ["--eval_dir", corpus, "--checkpoint", models.finetuned, "--target_length", 96, "--norm_mean", -4.268]
    flags += ["--norm_std", 4.569, "--json", "--ap_log_path", tmp_path / "ap.csv"]
    result = run(main, *flags)
    assert result.code == 0, result.err
    scores = scores_by_hand(paths, models.finetuned)
    judged = ~np.isnan(targets)
    expected = [average_precision_score(targets[judged[:, c], c], scores[judged[:, c], c]) for c in range(3)]
    report = json.loads(result.out)
    assert report["mAP"]["value"] == pytest.approx(np.mean(expected)) and "accuracy" not in report
    assert "partial labels: 85.2% of the pairs of a clip and a class were judged" in result.err
    rows = list(csv.DictReader((tmp_path / "ap.csv").open()))
    assert [int(row["positives"]) for row in rows] == np.nansum(targets, axis=0).astype(int).tolist()
    refused = run(main, *flags, "--confusion", tmp_path / "matrix.csv")
    assert refused.code == 1 and "was not judged for every class of each clip; leave --confusion out" in refused.err
