"""The sample district, made once for all its tests."""

from pathlib import Path

import pytest

from sample_models.district import make


@pytest.fixture(scope="session")
def district(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a freshly made district."""
    return make(tmp_path_factory.mktemp("district")).parent
