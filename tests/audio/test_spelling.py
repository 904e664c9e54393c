import unicodedata

import numpy as np
import pytest
import soundfile

from ASDA.audio import AudioError, load_waveform
from ASDA.audio.spelling import existing_spelling, same_name

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, "Käuzchen é") for form in ("NFC", "NFD"))


def test_same_name__of_both_spellings():
    assert COMPOSED != DECOMPOSED and same_name(COMPOSED) == same_name(DECOMPOSED)
    assert same_name("plain") == "plain"


def test_existing_spelling__finds_what_is_there(tmp_path):
    path = tmp_path / COMPOSED / f"{DECOMPOSED}.wav"
    path.parent.mkdir()
    soundfile.write(path, np.zeros(100), 16_000)
    for folder in (COMPOSED, DECOMPOSED):
        for name in (COMPOSED, DECOMPOSED):
            asked = f"{tmp_path}/{folder}/{name}.wav"
            assert existing_spelling(asked) == str(path)
            assert len(load_waveform(asked)) == 100
    missing = f"{tmp_path}/{COMPOSED}/ö.wav"
    assert existing_spelling(missing) == missing
    with pytest.raises(AudioError, match="no such file"):
        load_waveform(missing)


def test_existing_spelling__prefers_the_name_as_it_is_given(tmp_path):
    for name, length in ((COMPOSED, 100), (DECOMPOSED, 200)):
        soundfile.write(tmp_path / f"{name}.wav", np.zeros(length), 16_000)
    assert len(load_waveform(tmp_path / f"{COMPOSED}.wav")) == 100
    assert len(load_waveform(tmp_path / f"{DECOMPOSED}.wav")) == 200
