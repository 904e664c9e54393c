"""Whichever of fairseq and the user-dir is imported first, every name is registered."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("fairseq", reason="what is tested is the registration with fairseq")

ROOT = Path(__file__).resolve().parents[2]
CHECK = """
from fairseq.models import MODEL_REGISTRY
from fairseq.tasks import TASK_REGISTRY
assert {"asda", "asda_classifier", "data2vec_multi", "mae_image_classification"} <= set(MODEL_REGISTRY)
assert {"asda_pretraining", "mae_image_pretraining"} <= set(TASK_REGISTRY)
assert {"asda_finetuning", "mae_image_classification"} <= set(TASK_REGISTRY)
"""
USER_DIR = f"""
from argparse import Namespace
from fairseq.utils import import_user_module
import_user_module(Namespace(user_dir={str(ROOT / "ASDA")!r}))
"""
TAKEN = """
from fairseq.models import BaseFairseqModel, MODEL_REGISTRY, register_model
@register_model("data2vec_multi")
class Theirs(BaseFairseqModel):
    pass
"""


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        pytest.param(USER_DIR, id="user_dir"),
        pytest.param("import ASDA\nimport fairseq", id="package first", marks=pytest.mark.long),
        pytest.param("import fairseq\nimport ASDA", id="fairseq first"),
        pytest.param("import ASDA.core\n" + USER_DIR, id="package, then user_dir", marks=pytest.mark.long),
        pytest.param(
            "import fairseq.checkpoint_utils\n" + USER_DIR, id="fairseq, then user_dir", marks=pytest.mark.long
        ),
    ],
)
def test_registration__any_import_order(code):
    process = run(code + CHECK)
    assert process.returncode == 0, process.stderr


def test_registration__does_not_import_fairseq_by_itself():
    process = run("import sys, ASDA, ASDA.core, ASDA.objectives\nassert 'fairseq' not in sys.modules")
    assert process.returncode == 0, process.stderr


@pytest.mark.long
def test_registration__a_legacy_name_that_is_taken_is_left_alone_with_a_warning():
    code = TAKEN + "import ASDA\nassert MODEL_REGISTRY['data2vec_multi'] is Theirs\nassert 'asda' in MODEL_REGISTRY"
    process = run(code)
    assert process.returncode == 0, process.stderr
    assert 'the model name "data2vec_multi" is taken by __main__' in process.stderr
