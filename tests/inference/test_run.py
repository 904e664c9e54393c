"""Running a model over clips."""

import numpy as np
import pytest
import soundfile
import torch

from ASDA.audio.front_end import FrontEnd
from ASDA.inference.clips import find_clips
from ASDA.inference.run import ClipResult, run_clips
from ASDA.inference.windows import BadClip, Windowing


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_run_clips__a_clip_whose_output_is_not_finite_is_a_bad_one(tmp_path, value):
    """The output of one window in the middle of one clip is spoilt; all other clips are as they were."""
    rng = np.random.default_rng(0)
    for number in range(3):
        samples = 0.01 * rng.standard_normal(46_320)  # three whole windows
        if number == 1:
            samples[17_000:30_000] *= 30
        soundfile.write(tmp_path / f"{number}.wav", samples, 16_000)

    quiet = FrontEnd(96)(torch.from_numpy(samples[:16_000]).float()).mean()

    def model(source, _padding_mask):
        return torch.where(source.mean(dim=(1, 2, 3)) > quiet + 0.3, value, 1.0)[:, None]

    windowing = Windowing(FrontEnd(96), hop_frames=96)
    results = list(run_clips(model, enumerate(find_clips([str(tmp_path)])), windowing, device=torch.device("cpu")))
    (bad,) = (result for result in results if isinstance(result, BadClip))
    assert bad.index == 1 and bad.not_finite and "from 0.96 s on holds NaN or infinity" in bad.reason
    good = [result for result in results if isinstance(result, ClipResult)]
    assert [result.clip.index for result in good] == [0, 2]
    assert all(output.item() == 1.0 for result in good for output in result.outputs)
