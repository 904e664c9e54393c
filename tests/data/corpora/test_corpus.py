"""Data set presets against the published table."""

import pytest

from ASDA.audio import PRESETS, FrontEnd, get_preset

PUBLISHED = {  # name: (target_length, mean, std, classes, multi-label)
    "audioset": (1024, -4.268, 4.569, 527, True),
    "esc50": (512, -6.627, 5.359, 50, False),
    "spcv2": (128, -6.846, 5.565, 35, False),
    "fsd50k": (1024, -7.966, 4.753, 200, True),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_get_preset__published_table(name):
    preset = get_preset(name)
    length, mean, std, num_classes, multi_label = PUBLISHED[name]
    assert (preset.num_classes, preset.multi_label) == (num_classes, multi_label)
    assert preset.front_end() == FrontEnd(target_length_frames=length, norm_mean=mean, norm_std=std)


def test_get_preset__unknown_name_lists_the_known():
    with pytest.raises(ValueError, match=r'"esc-50".*audioset.*esc50'):
        get_preset("esc-50")
    assert all(name == preset.name for name, preset in PRESETS.items())
