"""What asda-extract is held against: the same work as users do it without this project's programs.

    python -m benchmarks.other_programs transformers MODEL AUDIO OUTPUT [--half] [--device cuda]
    python -m benchmarks.other_programs one_file CHECKPOINT CLIP OUTPUT [--device cuda]

`transformers` passes over a folder with ASTModel and ASTFeatureExtractor, batch by batch, and writes each clip's
pooled vector. `one_file` stands for a program that is started for each file, as EAT's feature extraction is: it has
fairseq load a training checkpoint, computes one clip and writes its features. Each imports what it needs and no more.
"""

import argparse
from pathlib import Path

import numpy as np

RATE_HZ = 16_000


def transformers(model: Path, audio: Path, output: Path, device: str, half: bool, batch_size: int) -> None:
    """Features of a folder of clips of 16 kHz, one .npy each."""
    import soundfile
    import torch
    from transformers import ASTFeatureExtractor, ASTModel

    precision = torch.float32
    if half:
        precision = torch.float16 if device == "cuda" else torch.bfloat16
    network = ASTModel.from_pretrained(model, dtype=precision).to(device).eval()
    extractor = ASTFeatureExtractor.from_pretrained(model)
    paths = sorted(audio.iterdir())
    output.mkdir()
    for first in range(0, len(paths), batch_size):
        batch = paths[first : first + batch_size]
        waveforms = [soundfile.read(path, dtype="float32")[0] for path in batch]
        inputs = extractor(waveforms, sampling_rate=RATE_HZ, return_tensors="pt")["input_values"]
        with torch.inference_mode():
            pooled = network(inputs.to(device, precision)).pooler_output
        for path, vector in zip(batch, pooled.float().cpu().numpy(), strict=True):
            np.save(output / f"{path.stem}.npy", vector.astype(np.float16) if half else vector)


def one_file(model: Path, audio: Path, output: Path, device: str) -> None:
    """Features (1 + N, D) of one clip of 16 kHz, by a pre-training checkpoint that fairseq loads."""
    import soundfile
    import torch
    from fairseq.checkpoint_utils import load_model_ensemble_and_task

    import ASDA  # noqa: F401 - registers models and tasks
    from ASDA.audio.fbank import reference_log_mel
    from ASDA.audio.front_end import fit_length, normalise

    (network,), config, _ = load_model_ensemble_and_task([str(model)])
    network = network.to(device).eval()
    waveform = torch.from_numpy(soundfile.read(audio, dtype="float32")[0])
    frames = fit_length(reference_log_mel(waveform), config.task.target_length)
    spectrogram = normalise(frames, config.task.norm_mean, config.task.norm_std)[None, None].to(device)
    with torch.inference_mode():
        features = network.extract_features(spectrogram, remove_extra_tokens=False)["x"]
    np.save(output, features[0].cpu().numpy())


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("program", choices=("transformers", "one_file"))
    parser.add_argument("model", type=Path)
    parser.add_argument("audio", type=Path, help="a folder, or one clip")
    parser.add_argument("output", type=Path, help="a folder, or one .npy")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--half", action="store_true", help="of transformers: in half precision")
    parser.add_argument("--batch-size", type=int, default=8, help="of transformers [%(default)s]")
    args = parser.parse_args(argv)
    if args.program == "transformers":
        transformers(args.model, args.audio, args.output, args.device, args.half, args.batch_size)
    else:
        one_file(args.model, args.audio, args.output, args.device)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
