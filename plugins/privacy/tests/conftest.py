"""Secrets of tests lie in a folder of their own."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def secrets(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("secrets")
    monkeypatch.setenv("LABWRIGHT_PRIVACY_SECRETS", str(folder))
    return folder
