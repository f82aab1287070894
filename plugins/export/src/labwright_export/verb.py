"""`labwright export`: a run's model as an ONNX file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from labwright.cli.shared import Json, RunFolder, print_json, print_table, say


def verb(
    ctx: typer.Context,
    run: RunFolder,
    out: Annotated[Path | None, typer.Option(help="An empty or new folder: RUN/export.")] = None,
    as_json: Json = False,
) -> None:
    """Write a run's model as ONNX and compare what onnxruntime makes of it with PyTorch.

    Example: labwright export runs/vision-digits-001 --out digits-model
    """
    from labwright_export.to_onnx import export

    facts = export(run, out or run / "export", plugins=ctx.obj.plugins)
    say(*(f"note: {note}" for note in facts["notes"]))
    if as_json:
        print_json(facts)
        return
    takes, gives = (
        ", ".join(f"{one['name']} {one['dtype']} {one['shape']}" for one in facts[side]).replace("'", "")
        for side in ("inputs", "outputs")
    )
    print_table(
        [
            ("model", f"{facts['folder']}/model.onnx ({facts['bytes']:,} bytes)"),
            ("takes", takes),
            ("gives", gives),
            ("checked", f"differs from PyTorch by at most {facts['largest_difference']:.2g}"),
        ]
    )
