"""The command line in this process, and a perceptron whose figures can be worked out by hand."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import labwright as lw
import pytest
from labwright.cli import main
from torch import Tensor, nn

Said = Callable[..., tuple[int, str, str]]  # exit code, stdout, stderr


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> Said:
    """What a command answers, in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["labwright", *map(str, words)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as end:
            main()
        heard = capsys.readouterr()
        return int(end.value.code or 0), heard.out, heard.err

    return run


class Perceptron(nn.Module):
    """Linear 4 to 8, rectifier, linear 8 to 3."""

    def __init__(self, inputs: lw.Features, outputs: lw.Classes) -> None:
        super().__init__()
        self.first = nn.Linear(4, 8)
        self.relu = nn.ReLU()
        self.head = nn.Linear(8, 3)

    def forward(self, x_BD: Tensor) -> Tensor:
        return self.head(self.relu(self.first(x_BD)))
