"""asda-train: what it prints and returns; the plan itself is tested in tests/launch."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("hydra", reason="recipes are composed by hydra")

import ASDA
from ASDA.cli.train import main, num_folds
from ASDA.launch.settings import SETTINGS


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in SETTINGS:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"DATA": "data", "SAVE_DIR": "run", "NGPU": "1", "DRY_RUN": "1"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_train__a_dry_run_prints_the_command_and_says_what_it_will_do(capsys, tmp_path):
    assert main(["--program", "./some/script.sh", "pretraining_AS2M", "demo_pretraining"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith(
        f"mkdir -p {tmp_path}/run && {sys.executable} -m ASDA.fairseq_plugin.start fairseq_cli.hydra_train "
    )
    *others, last = printed.err.splitlines()
    assert last == "script.sh: 8 clips x 1 GPUs x update_freq 1 = 8 clips per update, as in the recipe"
    assert others[-1].startswith("script.sh: memory: about ")
    assert all(line.startswith("script.sh: ") for line in others)
    assert not list(tmp_path.iterdir())


def test_train__an_error_is_one_line_under_the_scripts_name(settings, capsys):
    settings.delenv("DATA")
    assert main(["--program", "./some/script.sh", "pretraining_AS2M"]) == 2
    assert capsys.readouterr() == ("", "script.sh: set DATA: a folder with train.tsv\n")


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["finetuning", "--help"], ["finetuning", "ESC50", "a=1", "-h"]])
def test_train__help_starts_nothing(words, settings, capsys, tmp_path):
    settings.setenv("DRY_RUN", "0")
    assert main(words) == 0
    printed = capsys.readouterr()
    assert "asda-train" in printed.out and printed.err == ""
    assert not list(tmp_path.iterdir())


def test_train__says_its_version_and_how_it_is_called(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"asda-train {ASDA.__version__}\n"
    assert main([]) == 2
    assert "asda-train CONFIG" in capsys.readouterr().err


def test_num_folds__is_what_the_data_set_is_published_in():
    assert [num_folds(name) for name in ("esc50", "urbansound8k", "audioset", "")] == [5, 10, 0, 0]


def test_train__a_plan_needs_no_torch():
    """Importing it takes longer than all the rest."""
    code = "import sys; from ASDA.cli.train import main; main(['pretraining_AS2M']); print('torch' in sys.modules)"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(os.path.dirname(ASDA.__file__))}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert result.stdout.splitlines()[1:] == ["False"], result.stderr
