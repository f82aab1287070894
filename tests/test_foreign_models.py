"""The conformance kit has no complaint about known architectures, wrapped as a third party would."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from labwright.plugin.registry import Plugins
from labwright_testing.checks import CHECKS
from labwright_testing.kit import Kit, Subject
from labwright_testing.pytest_cases import run

SOURCES = Path(__file__).parent / "third_party" / "labwright-foreign" / "src"
sys.path.insert(0, str(SOURCES))
from labwright_foreign.plugin import TIMM, TORCHAUDIO, TRANSFORMERS  # noqa: E402

sys.path.remove(str(SOURCES))
LABELS = [
    *(f"model foreign/{name.replace('_', '-')}" for name in (*TIMM, *TRANSFORMERS, *TORCHAUDIO)),
    *(f"data foreign/{name}" for name in ("blots", "letters", "tones")),
]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Subject]]:
    """What labwright-foreign brings, by name, when it is installed as `pip install -e` does it."""
    info = tmp_path_factory.mktemp("site") / "labwright_foreign-0.1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labwright-foreign\nVersion: 0.1.0\n")
    (info / "entry_points.txt").write_text("[labwright]\nforeign = labwright_foreign.plugin\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(SOURCES)
        patch.syspath_prepend(info.parent)
        yield {subject.label: subject for subject in Kit(Plugins.discover()).subjects("labwright-foreign")}


def test_they_are_as_many_as_are_promised():
    assert (len(TIMM), len(TRANSFORMERS), len(TORCHAUDIO)) == (20, 5, 3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("label", LABELS)
def test_no_check_complains(foreign: dict[str, Subject], label: str):
    subject = foreign[label]
    for each in CHECKS.values():
        # that check complains of nothing, and tracing takes as long as all the others
        if not each.applies(subject) or each.name == "says-what-it-goes-with":
            continue
        try:
            run(subject, each)
        except pytest.skip.Exception as reason:
            assert each.kinds != ("model",), f"{each.name} isn't tried: {reason}"
