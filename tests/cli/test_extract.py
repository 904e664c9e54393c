"""asda-extract, against the encoder and the front end called by hand."""

import io
import json
import subprocess
import sys

import h5py
import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.fbank import reference_log_mel
from ASDA.audio.front_end import fit_length, normalise
from ASDA.audio.io import load_waveform
from ASDA.cli.convert import main as convert
from ASDA.cli.extract import main
from ASDA.inference import load_encoder, windows


def features_by_hand(path, checkpoint, target_length, mean=-4.268, std=4.569):
    """As EAT's program works: torchaudio's filterbank, cut or padded, normalised, through the model."""
    frames = fit_length(reference_log_mel(load_waveform(path)), target_length)
    with torch.no_grad():
        return load_encoder(checkpoint)(normalise(frames, mean, std)[None, None])[0].numpy()


@pytest.mark.parametrize("kind", ["pretrained", "finetuned"])
@pytest.mark.parametrize("granularity", ["all", "frame", "utterance"])
def test_extract__flags_of_eats_program(tmp_path, corpus, models, run, kind, granularity):
    checkpoint = getattr(models, kind)
    flags = ["--source_file", corpus / "clip_4.wav", "--target_file", tmp_path / "f.npy", "--model_dir", "EAT"]
    flags += ["--checkpoint_dir", checkpoint, "--granularity", granularity, "--target_length", 128]
    flags += ["--mode", {"pretrained": "pretrain", "finetuned": "finetune"}[kind]]
    result = run(main, *flags, "--norm_mean=-6.627", "--norm_std", 5.359)
    assert result.code == 0
    expected = features_by_hand(corpus / "clip_4.wav", checkpoint, 128, -6.627, 5.359)
    expected = {"all": expected, "frame": expected[1:], "utterance": expected[0]}[granularity]
    found = np.load(tmp_path / "f.npy")
    assert found.dtype == np.float32 and found.shape == expected.shape
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_extract__takes_length_and_statistics_from_the_checkpoint(tmp_path, corpus, models, run):
    flags = ["--source_file", corpus / "clip_4.wav", "--target_file", tmp_path / "f.npy"]
    assert run(main, *flags, "--checkpoint", models.finetuned).code == 0
    assert np.load(tmp_path / "f.npy").shape == (1 + 6 * 8, 32)  # the file says 96 frames


def test_extract__folder_mirrored_and_equal_to_single_files(tmp_path, corpus, models, run):
    out = tmp_path / "out"
    assert run(main, corpus, "--output", out, "--checkpoint", models.finetuned, "--batch_size", 4).code == 0
    written = sorted(str(path.relative_to(out)) for path in out.rglob("*.npy"))
    assert written == sorted(f"sub/clip {number}.npy" if number % 2 else f"clip_{number}.npy" for number in range(9))
    for number in (0, 3, 8):
        name = f"sub/clip {number}" if number % 2 else f"clip_{number}"
        audio = corpus / (name + (".flac" if number % 2 else ".wav"))
        np.testing.assert_allclose(
            np.load(out / f"{name}.npy"), features_by_hand(audio, models.finetuned, 96), atol=1e-4
        )


def test_extract__worker_processes_change_nothing(tmp_path, corpus, models, run):
    (tmp_path / "broken.wav").write_text("no audio")
    inputs = [corpus, tmp_path / "broken.wav", "--long", "windows"]
    for name, flags in (("threads", []), ("processes", ["--worker_processes", "--num_workers", 2])):
        out = tmp_path / name
        result = run(main, *inputs, "--output", out, "--checkpoint", models.finetuned, "--timestamps", *flags)
        assert result.code == 2 and "1 of 10 clips could not be read" in result.err
    written = sorted(path.relative_to(out) for path in out.rglob("*.npy"))
    assert len(written) == 18
    for path in (*written, "errors.tsv"):
        assert (tmp_path / "processes" / path).read_bytes() == (tmp_path / "threads" / path).read_bytes()


def test_extract__inputs_by_manifest_stdin_and_glob(tmp_path, corpus, models, run, monkeypatch):
    common = ["--checkpoint", models.finetuned, "--granularity", "utterance"]
    assert run(main, corpus / "eval.tsv", "--output", tmp_path / "manifest", *common).code == 0
    assert run(main, corpus, "--glob", "*.wav", "--output", tmp_path / "glob", *common).code == 0
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{corpus}/clip_0.wav\n{corpus}/sub/clip 1.flac\n"))
    assert run(main, "-", "--output", tmp_path / "stdin", *common).code == 0
    assert len(list((tmp_path / "manifest").rglob("*.npy"))) == 9
    assert len(list((tmp_path / "glob").rglob("*.npy"))) == 5
    assert len(list((tmp_path / "stdin").rglob("*.npy"))) == 2
    for folder in ("glob", "stdin"):
        np.testing.assert_allclose(
            np.load(tmp_path / folder / "clip_0.npy"), np.load(tmp_path / "manifest" / "clip_0.npy"), atol=1e-6
        )


def test_extract__reads_clips_inside_containers(tmp_path, models, run):
    samples = 0.1 * np.random.default_rng(0).standard_normal(32_000)
    with h5py.File(tmp_path / "shard.h5", "w") as file:
        file["clip_1"] = samples
    soundfile.write(tmp_path / "clip_1.wav", samples, 32_000, subtype="DOUBLE")
    (tmp_path / "m.tsv").write_text(f"{tmp_path}\nshard.h5/clip_1\t32000\nclip_1.wav\t32000\n")
    common = ["--checkpoint", models.finetuned, "--granularity", "utterance"]
    assert run(main, tmp_path / "m.tsv", "--output", tmp_path / "out", *common).code == 0
    from_h5, from_wav = (np.load(tmp_path / "out" / name) for name in ("shard.h5/clip_1.npy", "clip_1.npy"))
    np.testing.assert_allclose(from_h5, from_wav, atol=1e-5)


def test_extract__h5_with_layers_grid_and_times(tmp_path, corpus, models, run):
    flags = ["--checkpoint", models.pretrained, "--target_length", 64, "--granularity", "patch-grid"]
    assert run(main, corpus, "--output", tmp_path / "f.h5", *flags, "--layers", "1,2").code == 0
    assert run(main, corpus, "--output", tmp_path / "tree", *flags, "--layers", "mean", "--timestamps").code == 0
    with h5py.File(tmp_path / "f.h5") as file:
        layers = file["features/sub/clip 1.flac"][:]
        times = file["times_s/sub/clip 1.flac"][:]
    assert layers.shape == (2, 4, 8, 32)
    np.testing.assert_allclose(layers.mean(axis=0), np.load(tmp_path / "tree" / "sub" / "clip 1.npy"), atol=1e-5)
    np.testing.assert_allclose(times, np.load(tmp_path / "tree" / "sub" / "clip 1.times.npy"))
    np.testing.assert_allclose(times[:, 0], [0.0, 0.16, 0.32, 0.48])


@pytest.mark.parametrize("batch_size", [1, 5])
def test_extract__own_length_and_masked_padding_agree(tmp_path, corpus, models, run, batch_size):
    flags = ["--checkpoint", models.pretrained, "--batch_size", batch_size]
    for padding in ("own", "mask"):
        assert run(main, corpus, "--output", tmp_path / padding, "--padding", padding, *flags).code == 0
    shapes = set()
    for path in (tmp_path / "own").rglob("*.npy"):
        own, mask = np.load(path), np.load(tmp_path / "mask" / path.relative_to(tmp_path / "own"))
        np.testing.assert_allclose(own, mask, atol=2e-5)
        shapes.add(own.shape)
    assert len(shapes) == 6  # nine lengths, and no padding tokens in the output


def test_extract__long_clips_are_cut_and_counted_or_kept_whole(tmp_path, corpus, models, run):
    flags = ["--checkpoint", models.pretrained, "--target_length", 64, "--granularity", "frame"]
    result = run(main, corpus / "clip_8.wav", "--output", tmp_path / "crop", *flags)
    assert "1 clips are longer than the window of 0.64 s and were cut" in result.err
    result = run(main, corpus / "clip_8.wav", "--output", tmp_path / "whole", *flags, "--long", "windows")
    assert "cut" not in result.err
    crop, whole = np.load(tmp_path / "crop" / "clip_8.npy"), np.load(tmp_path / "whole" / "clip_8.npy")
    assert len(crop) == 4 * 8 and len(whole) == 8 * 8  # 1.3 s: 128 frames
    np.testing.assert_allclose(whole[: 4 * 8], crop, atol=1e-5)


def test_extract__half_precision_stays_near(tmp_path, corpus, models, run):
    flags = ["--source_file", corpus / "clip_4.wav", "--checkpoint", models.finetuned]
    assert run(main, *flags, "--target_file", tmp_path / "full.npy").code == 0
    assert run(main, *flags, "--target_file", tmp_path / "half.npy", "--half").code == 0
    full, half = np.load(tmp_path / "full.npy"), np.load(tmp_path / "half.npy")
    assert half.dtype == np.float16
    assert np.abs(full - half).max() < 0.15 and np.abs(full - half).mean() < 0.02


def test_extract__bad_clips_are_reported_and_the_rest_is_done(tmp_path, corpus, models, run):
    (corpus / "clip_2.wav").write_text("not audio\n")
    (corpus / "sub" / "clip 5.flac").write_bytes((corpus / "sub" / "clip 5.flac").read_bytes()[:2_000])
    out = tmp_path / "out"
    flags = [corpus, "--output", out, "--checkpoint", models.finetuned]
    result = run(main, *flags)
    assert result.code == 2
    assert len(list(out.rglob("*.npy"))) == 7
    listed = (out / "errors.tsv").read_text().splitlines()
    assert [line.split("\t")[0] for line in listed] == [str(corpus / "clip_2.wav"), str(corpus / "sub" / "clip 5.flac")]
    assert all(line.split("\t")[1] for line in listed)
    assert "2 of 9 clips could not be read" in result.err and "errors.tsv" in result.err
    # Repaired, resumed: only what is missing is done, and the list goes.
    for name in ("clip_2.wav", "sub/clip 5.flac"):
        soundfile.write(corpus / name, np.zeros(8_000), 16_000)
    result = run(main, *flags, "--resume")
    assert result.code == 0 and "7 of 9 clips are done already" in result.err
    assert len(list(out.rglob("*.npy"))) == 9 and not (out / "errors.tsv").exists()


def test_extract__bad_single_file(tmp_path, models, run):
    (tmp_path / "x.wav").write_text("text")
    flags = ["--source_file", tmp_path / "x.wav", "--target_file", tmp_path / "x.npy", "--checkpoint", models.finetuned]
    result = run(main, *flags)
    assert result.code == 2 and f"{tmp_path}/x.wav: not readable as audio" in result.err
    assert not (tmp_path / "x.npy").exists()


def test_extract__resume_leaves_finished_files_alone(tmp_path, corpus, models, run):
    flags = [corpus, "--output", tmp_path / "out", "--checkpoint", models.finetuned]
    run(main, *flags)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}
    (tmp_path / "out" / "clip_0.npy").unlink()
    assert run(main, *flags, "--resume").code == 0
    after = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*.npy")}
    changed = [path.name for path in before if before[path] != after[path]]
    assert changed == ["clip_0.npy"]
    result = run(main, *flags, "--resume", "--granularity", "frame")
    assert result.code == 1 and "granularity was all, now frame" in result.err


@pytest.mark.parametrize("output", ["out", "out.h5"])
def test_extract__shards_split_the_work_without_overlap(tmp_path, corpus, models, run, output):
    flags = [corpus, "--output", tmp_path / output, "--checkpoint", models.finetuned, "--granularity", "utterance"]
    (corpus / "clip_2.wav").write_text("not audio\n")
    codes = [run(main, *flags, "--shard", f"{shard}/3").code for shard in (1, 2, 3)]
    assert sorted(codes) == [0, 0, 2]
    if output == "out":
        assert len(list((tmp_path / "out").rglob("*.npy"))) == 8
        assert [path.name for path in (tmp_path / "out").glob("errors*")] == ["errors.2-of-3.tsv"]
        return
    names = []
    for shard in (1, 2, 3):
        with h5py.File(tmp_path / f"out.{shard}-of-3.h5") as file:
            file["features"].visititems(
                lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None
            )
    assert len(names) == len(set(names)) == 8


@pytest.mark.parametrize("layout", ["directory", "huggingface"])
def test_extract__framework_huggingface_takes_a_directory(tmp_path, corpus, models, run, layout):
    assert convert([str(models.finetuned), str(tmp_path / "model"), "--to", layout]) == 0
    target = ["--source_file", corpus / "clip_0.wav", "--target_file", tmp_path / "x.npy"]
    flags = ["--checkpoint_dir", tmp_path / "model", "--framework"]
    assert run(main, *target, *flags, "huggingface").code == 0
    np.testing.assert_allclose(
        np.load(tmp_path / "x.npy"), features_by_hand(corpus / "clip_0.wav", models.finetuned, 96), atol=1e-4
    )
    result = run(main, *target, *flags, "fairseq")
    assert result.code == 1 and "--framework fairseq expects a checkpoint file" in result.err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--mode", "pretrain"], "--mode pretrain, but this is a fine-tuned checkpoint"),
        (["--layers", "1,7"], "layers [7] do not exist: this encoder has layers 1 to 2"),
        (["--pool", "mean"], "goes with granularity frame or patch-grid"),
        (["--target_length", "8"], "at least one patch of 16 frames"),
        (["--target_length", "99999"], "99999"),
        (["--norm_std", "0"], "norm_std must be positive"),
        (["--framework", "huggingface"], "--framework huggingface expects a directory"),
        (["--device", "cuda:99"], "--device cuda:99"),
    ],
)
def test_extract__wrong_wishes_end_in_one_line(tmp_path, corpus, models, run, flags, message):
    target = ["--source_file", corpus / "clip_0.wav", "--target_file", tmp_path / "x.npy"]
    result = run(main, *target, "--checkpoint", models.finetuned, *flags)
    assert result.code == 1 and message in result.err
    assert len(result.err.strip().splitlines()) == 1 and not (tmp_path / "x.npy").exists()


def test_extract__one_target_file_does_not_take_several_clips(tmp_path, corpus, models, run):
    result = run(main, "--source_file", corpus, "--target_file", tmp_path / "x.npy", "--checkpoint", models.finetuned)
    assert result.code == 1 and "stands for 9 clips, --target_file holds one" in result.err
    assert not (tmp_path / "x.npy").exists()


def test_extract__target_file_is_named_as_numpy_names_it(tmp_path, corpus, models, run):
    flags = ["--source_file", corpus / "clip_0.wav", "--checkpoint", models.finetuned]
    assert run(main, *flags, "--target_file", tmp_path / "features").code == 0
    assert [path.name for path in tmp_path.glob("features*")] == ["features.npy"]


def test_extract__windows_leave_no_gap_when_their_length_is_not_whole_patches(tmp_path, corpus, models, run):
    flags = ["--checkpoint", models.pretrained, "--target_length", 40, "--long", "windows", "--timestamps"]
    run(main, corpus / "clip_8.wav", "--output", tmp_path, *flags, "--granularity", "patch-grid")
    times = np.load(tmp_path / "clip_8.times.npy")
    np.testing.assert_allclose(times[1:, 0], times[:-1, 1])


@pytest.mark.parametrize(
    "flags",
    [
        [],
        ["--source_file", "x.wav"],
        ["x.wav"],
        ["x.wav", "--output", "o", "--source_file", "y.wav", "--target_file", "z"],
        ["x.wav", "--output", "o", "--shard", "0/4"],
        ["x.wav", "--output", "o", "--shard", "5/4"],
        ["x.wav", "--output", "o", "--layers", "last"],
        ["x.wav", "--output", "o", "--batch_size", "0"],
        ["x.wav", "--output", "o", "--ray", "auto", "--worker_processes"],
    ],
)
def test_extract__usage_errors(flags, models, capsys):
    with pytest.raises(SystemExit) as caught:
        main([*flags, "--checkpoint_dir", str(models.finetuned)])
    assert caught.value.code == 2
    assert "error:" in capsys.readouterr().err


def test_extract__settings_are_recorded(tmp_path, corpus, models, run):
    run(main, corpus, "--output", tmp_path / "out", "--checkpoint", models.finetuned, "--padding", "own")
    settings = json.loads((tmp_path / "out" / "extraction.json").read_text())
    assert settings["padding"] == "own" and settings["front_end"]["target_length_frames"] == 96
    assert len(settings["weights_crc32"]) == 8


def test_extract__a_feature_beyond_float16_is_an_error_and_not_infinite(tmp_path, corpus, models, run):
    state = torch.load(models.finetuned, weights_only=True)
    name = next(name for name in reversed(state["model"]) if name.endswith("norm2.weight"))
    state["model"][name] *= 1e6
    torch.save(state, tmp_path / "large.pt")
    flags = ["--checkpoint", tmp_path / "large.pt", "--output"]
    assert run(main, corpus, *flags, tmp_path / "full").code == 0
    assert all(np.isfinite(np.load(path)).all() for path in (tmp_path / "full").rglob("*.npy"))
    result = run(main, corpus, *flags, tmp_path / "half", "--half")
    assert result.code == 1 and "beyond what float16 holds" in result.err
    assert not list((tmp_path / "half").rglob("*.npy"))


PEAK = """
import resource, sys
from ASDA.cli.extract import main
assert main(sys.argv[1:]) == 0
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="counts in kilobytes, as Linux does")
def test_extract__memory_does_not_grow_with_a_recording(tmp_path, models):
    """Of half an hour the waveform alone would take 115 MB, and its log-mel values 92 MB."""
    noise = (1000 * np.random.default_rng(0).standard_normal(60 * 16_000)).astype(np.int16)
    peaks = []
    for minutes in (12, 42):  # both of several stretches that are decoded at a time
        clip = tmp_path / f"{minutes}.wav"
        with soundfile.SoundFile(clip, "w", 16_000, 1) as file:
            for _ in range(minutes):
                file.write(noise)
        arguments = [clip, "--output", tmp_path / "out", "--checkpoint", models.pretrained, "--long", "windows"]
        arguments += ["--granularity", "utterance", "--device", "cpu"]
        command = [sys.executable, "-c", PEAK, *map(str, arguments)]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        peaks.append(int(said.split()[-1]) / 1024)
    assert peaks[1] - peaks[0] < 40, peaks


def test_extract__parquet_holds_what_the_npy_files_hold(tmp_path, corpus, models, run):
    pq = pytest.importorskip("pyarrow.parquet")
    (corpus / "clip_2.wav").write_bytes(b"")
    flags = [corpus, "--checkpoint", models.finetuned, "--layers", "1,2"]
    assert run(main, *flags, "--output", tmp_path / "tree", "--timestamps").code == 2
    result = run(main, *flags, "--output", tmp_path / "f.parquet")
    assert result.code == 2 and (tmp_path / "f.errors.tsv").exists()
    rows = {row["clip"]: row for row in pq.read_table(tmp_path / "f.parquet").to_pylist()}
    assert len(rows) == 9 and rows.pop("clip_2.wav")["error"] == "the file has 0 bytes"
    for name, row in rows.items():
        file = tmp_path / "tree" / name
        values = np.array(row["features"], "float32").reshape(row["shape"])
        assert np.array_equal(values, np.load(file.with_suffix(".npy")))
        times_s = np.stack([row["start_s"], row["end_s"]], axis=1)
        assert np.array_equal(times_s, np.load(file.with_suffix(".times.npy")))
    soundfile.write(corpus / "clip_2.wav", np.zeros(8_000), 16_000)
    result = run(main, *flags, "--output", tmp_path / "f.parquet", "--resume")
    assert result.code == 0 and "8 of 9 clips are done already" in result.err
    assert pq.read_table(tmp_path / "f.parquet")["error"].null_count == 9 and not (tmp_path / "f.errors.tsv").exists()


def test_extract__shards_have_a_parquet_folder_each(tmp_path, corpus, models, run):
    pq = pytest.importorskip("pyarrow.parquet")
    flags = [
        corpus,
        "--output",
        tmp_path / "out.parquet",
        "--checkpoint",
        models.finetuned,
        "--granularity",
        "utterance",
    ]
    assert [run(main, *flags, "--shard", f"{shard}/2").code for shard in (1, 2)] == [0, 0]
    names = [
        name for shard in (1, 2) for name in pq.read_table(tmp_path / f"out.{shard}-of-2.parquet")["clip"].to_pylist()
    ]
    assert len(names) == len(set(names)) == 9 and not (tmp_path / "out.parquet").exists()


@pytest.fixture
def batches(monkeypatch):
    """Names of the clips in each batch that is computed."""
    names = []

    def collate(batch, windowing):
        names.append([window.clip.clip.name for window in batch])
        return windows.collate(batch, windowing)

    monkeypatch.setattr("ASDA.inference.run.collate", collate)
    return names


def test_extract__a_bad_clip_changes_nothing_in_other_parts(tmp_path, corpus, models, run, batches):
    """What a clip is batched with decides on its last bits: those of another part stay to the bit."""
    flags = [corpus, "--checkpoint", models.finetuned, "--batch_size", 2, "--granularity", "utterance"]
    assert run(main, *flags, "--output", tmp_path / "whole").code == 0
    whole = list(batches)
    batches.clear()
    (corpus / "clip_0.wav").write_bytes(b"")
    assert run(main, *flags, "--output", tmp_path / "less").code == 2
    assert windows.clips_together(2, "constant") == 8 and len(whole[-1]) == 1
    assert batches[-1] == whole[-1] and batches[0] != whole[0]


@pytest.mark.parametrize("shard", [(1, 1), (2, 3)])
def test_extract__batches_stay_full_in_a_shard(shard, tmp_path, corpus, models, run, batches):
    flags = [corpus, "--checkpoint", models.finetuned, "--batch_size", 3, "--granularity", "utterance"]
    assert run(main, *flags, "--output", tmp_path / "out", "--shard", "/".join(map(str, shard))).code == 0
    assert list(map(len, batches)) == [3] * (9 // shard[1] // 3)
