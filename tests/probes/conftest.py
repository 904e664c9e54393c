"""The demo's smallest corpus."""

from tests.demo.conftest import small_corpus  # noqa: F401
