"""Run the notebooks of docs/notebooks and keep what came of it: `python docs/run_notebooks.py`; a test does too."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nbformat
from nbclient import NotebookClient

NOTEBOOKS = Path(__file__).parent / "notebooks"
ANEW = "%reset -f"  # what one notebook has made isn't there for the next


def run(files: Iterable[Path], folder: Path) -> dict[Path, Any]:
    """Each notebook with what its cells show now; the kernel is one, as torch is long in coming, and its folder new.

    Raises CellExecutionError for a cell that raises.
    """
    notebooks = {file: nbformat.read(file, as_version=4) for file in files}
    whole = nbformat.v4.new_notebook()
    for notebook in notebooks.values():
        whole.cells += [*notebook.cells, nbformat.v4.new_code_cell(ANEW)]
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(whole, kernel_name="python3", resources=where, timeout=None).execute()
    for notebook in notebooks.values():
        for count, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), 1):
            cell.execution_count = count
            cell.metadata.pop("execution", None)
            cell.outputs = _joined(cell.outputs)
            for output in cell.outputs:
                if output.output_type == "execute_result":
                    output.execution_count = count
    return notebooks


def _joined(outputs: Iterable[Any]) -> list[Any]:
    """The lines of a stream that came in pieces as one."""
    joined: list[Any] = []
    for output in outputs:
        last = joined[-1] if joined else None
        if last is not None and output.output_type == "stream" == last.output_type and output.name == last.name:
            last.text += output.text
        else:
            joined.append(output)
    return joined


if __name__ == "__main__":
    with TemporaryDirectory() as scratch:
        for file, notebook in run(sorted(NOTEBOOKS.glob("*.ipynb")), Path(scratch)).items():
            nbformat.write(notebook, file)
