"""The smallest generated corpus, made once."""

import pytest

from ASDA.demo import corpus


@pytest.fixture(scope="session")
def small_corpus(tmp_path_factory):
    out = tmp_path_factory.mktemp("corpus")
    corpus.write_corpus(out, 150, seed=1)
    return out
