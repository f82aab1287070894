"""The notebooks of the documentation: each is run, and what it shows is what it showed when its page was made."""

from __future__ import annotations

import importlib.util
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))


@cache
def module(name: str) -> Any:
    """A script of docs/ as a module."""
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


def cells(file: Path, kind: str) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(file.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == kind]


def shown(cell: Any) -> list[tuple[str, ...]]:
    """The kinds of what a cell shows, and of a table its heads."""
    kinds: list[tuple[str, ...]] = []
    for output in cell["outputs"]:
        html = "".join(output.get("data", {}).get("text/html", ""))
        kinds.append((output["output_type"], output.get("name", ""), *re.findall(r"<th[^>]*>([a-z ]+)", html)))
    return kinds


def bars(cell: Any) -> list[str]:
    html = ["".join(output.get("data", {}).get("text/html", "")) for output in cell["outputs"]]
    return [one for one in html if "<progress" in one]


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_a_notebook_is_kept_as_it_was_run_from_its_first_cell_to_its_last(file: Path) -> None:
    code = cells(file, "code")
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        for output in cell["outputs"]:
            assert output["output_type"] != "error"
            assert output.get("name") != "stderr", output  # which is red
        assert len(bars(cell)) <= 1
    for cell in cells(file, "markdown"):
        for link in re.findall(r"\]\(([^)#]+)", "".join(cell["source"])):
            assert (file.parent / link).resolve().is_file(), link
    assert "/tmp" not in file.read_text() and str(ROOT) not in file.read_text()


@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_the_page_of_a_notebook_has_its_texts_its_code_and_what_it_shows(file: Path) -> None:
    page = module("generate").notebook(file)
    for cell in cells(file, "markdown"):
        assert "".join(cell["source"]) in page
    for cell in cells(file, "code"):
        assert "```python\n" + "".join(cell["source"]) + "\n```" in page
    drawn = re.findall(r"\((\S+\.png)\)", page)
    pictures = module("generate").pictures()
    assert all(pictures[f"notebooks/{name}"].startswith(b"\x89PNG") for name in drawn)
    assert f"notebooks/{file.stem}.md" in (ROOT / "mkdocs.yml").read_text()


@pytest.mark.slow
@pytest.mark.long
def test_notebooks_run_and_show_what_they_showed(tmp_path: Path) -> None:
    for file, notebook in module("run_notebooks").run(NOTEBOOKS, tmp_path).items():
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        for now, then in zip(code, cells(file, "code"), strict=True):
            assert shown(now) == shown(then), now.source
            for bar in bars(now):  # it has come to its end
                done, most = re.findall(r'<progress value="(\d+)" max="(\d+)"', bar)[0]
                assert done == most
