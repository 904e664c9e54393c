"""The fixtures of published-layout files, which the tests of inference use too."""

from tests.inference.conftest import *  # noqa: F403
