"""What is in Parquet or in tars of webdataset gives the programs what the same clips give as files."""

import io
import json
import tarfile

import numpy as np
import pytest

from ASDA.cli import evaluate, extract, infer, manifest, probe
from tests.cli.conftest import CLASSES, json_lines
from tests.data.generated_corpora import NEEDS_PYARROW, write_parquet


def write_tar(path, clips, labels):
    with tarfile.open(path, "w") as archive:
        for number, (clip, names) in enumerate(zip(clips, labels, strict=True)):
            for ending, data in ((clip.suffix, clip.read_bytes()), (".json", json.dumps({"labels": names}).encode())):
                info = tarfile.TarInfo(f"{number}{ending}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))


def write_rows(path, clips, labels):
    cells = [{"bytes": clip.read_bytes(), "path": clip.name} for clip in clips]
    write_parquet(path, {"audio": cells, "labels": labels}, row_group_size=4)


FORMATS = [pytest.param(("parquet", write_rows), marks=NEEDS_PYARROW), ("webdataset", write_tar)]


@pytest.fixture(params=FORMATS, ids=lambda param: param[0])
def held(request, tmp_path, corpus):
    """Manifests of the corpus in a container: train, and the same clips once more as eval."""
    name, write = request.param
    rows = (corpus / "eval.tsv").read_text().splitlines()[1:]
    clips = [corpus / row.split("\t")[0] for row in rows]
    labels = [[CLASSES[i % 3]] + ([CLASSES[1]] if i == 3 else []) for i in range(len(clips))]
    (tmp_path / "data").mkdir()
    ending = {"parquet": "parquet", "webdataset": "tar"}[name]
    for split in ("train", "test"):
        write(tmp_path / "data" / f"{split}-0.{ending}", clips, labels)
    table = ["--label-table", str(corpus / "label_descriptors.csv")]
    assert manifest.main([name, str(tmp_path / "data"), "--out", str(tmp_path / "held"), *table]) == 0
    return tmp_path / "held"


def test_evaluate__of_a_container_is_that_of_files(corpus, held, models, run):
    found = []
    for folder in (corpus, held):
        flags = ["--label_file", folder / "label_descriptors.csv", "--eval_dir", folder, "--json"]
        result = run(evaluate.main, *flags, "--checkpoint_dir", models.finetuned, "--num_workers", 2, "--device", "cpu")
        assert result.code == 0, result.err
        found.append(json.loads(result.out))
    assert {k: v for k, v in found[0].items() if "dir" not in k} == {
        k: v for k, v in found[1].items() if "dir" not in k
    }


def test_extract_and_infer__of_a_container_are_those_of_files(tmp_path, corpus, held, models, run):
    features, scores = [], []
    for number, file in enumerate((corpus / "eval.tsv", held / "eval.tsv")):
        flags = ["--checkpoint", models.finetuned, "--granularity", "utterance", "--num_workers", 2]
        assert run(extract.main, file, "--output", tmp_path / f"f{number}", *flags).code == 0
        listed = (tmp_path / f"f{number}" / "extraction.files.jsonl").read_text().splitlines()
        by_clip = {json.loads(line)[1]: tmp_path / f"f{number}" / json.loads(line)[0] for line in listed}
        rows = [row.split("\t")[0] for row in file.read_text().splitlines()[1:]]
        features.append([np.load(by_clip[row]) for row in rows])
        result = run(infer.main, "--checkpoint_dir", models.finetuned, "--source_file", file, "--json")
        assert result.code == 0, result.err
        scores.append(
            [{k: v for k, v in line.items() if k not in ("path", "clip", "file")} for line in json_lines(result.out)]
        )
    assert len(features[0]) == 9 and scores[0] == scores[1]
    np.testing.assert_array_equal(features[0], features[1])
    assert run(extract.main, file, "--output", tmp_path / "f1", *flags, "--resume").code == 0


def test_probe__of_a_container(tmp_path, held, models, run):
    flags = ["--output", tmp_path / "probed", "--no-random-weights", "--bootstrap", 0, "--regularisation", 1]
    result = run(probe.main, models.pretrained, held, "--target_length", 32, *flags)
    assert result.code == 0, result.err
    assert (tmp_path / "probed" / "results.json").exists()
