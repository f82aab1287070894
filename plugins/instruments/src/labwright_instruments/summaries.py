"""What TensorBoard shows, as its messages: numbers, settings, texts, pictures, histograms, sections of a report.

They are put together from tensorboard's protocol buffers: its own functions for them import TensorFlow where that is
installed.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import singledispatch
from typing import Any

import labwright as lw
import torch
from torch import Tensor, nn

MOST_PICTURES, MOST_PASSAGES, MOST_ROWS = 64, 50, 500  # as in report.html
PIXELS_PER_INCH = 160
BINS = 64  # of a histogram


def scalar(tag: str, value: float) -> Any:
    from tensorboard.compat.proto.summary_pb2 import Summary

    return Summary.Value(tag=tag, simple_value=value)


# ----------------------------------------------------------------------------------------------------------- settings


def begun(settings: Mapping[str, Any]) -> list[Any]:
    """The settings as the HParams page takes them, and that the run has begun."""
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

    told = SessionStartInfo(start_time_secs=time.time())
    for name, value in settings.items():
        kind = "bool" if isinstance(value, bool) else "number" if isinstance(value, int | float) else "string"
        setattr(told.hparams[name], f"{kind}_value", value)
    data = HParamsPluginData(version=0, session_start_info=told)
    return [_empty("_hparams_/session_start_info", data)]


def ended() -> Any:
    """That the run is over and was a success, as the HParams page takes it."""
    from tensorboard.plugins.hparams import api_pb2
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo

    told = SessionEndInfo(status=api_pb2.STATUS_SUCCESS, end_time_secs=time.time())
    return _empty("_hparams_/session_end_info", HParamsPluginData(version=0, session_end_info=told))


def _empty(tag: str, data: Any) -> Any:
    """Something for the HParams page: all of it is in its metadata."""
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

    shape = tensor_shape_pb2.TensorShapeProto(dim=[tensor_shape_pb2.TensorShapeProto.Dim(size=0)])
    plugin = summary_pb2.SummaryMetadata.PluginData(plugin_name="hparams", content=data.SerializeToString())
    return summary_pb2.Summary.Value(
        tag=tag,
        metadata=summary_pb2.SummaryMetadata(plugin_data=plugin),
        tensor=tensor_pb2.TensorProto(dtype=types_pb2.DT_FLOAT, tensor_shape=shape),
    )


# ------------------------------------------------------------------------------------------------- texts and pictures


def text(tag: str, passages: Sequence[str], captions: Sequence[str] = (), note: str = "") -> Any:
    """Passages as they are: nothing in them is markup."""
    parts = [note] if note else []
    for passage, caption in zip(passages, captions or [""] * len(passages), strict=True):
        indented = "\n".join(f"    {line}" for line in passage.splitlines())
        parts.append(f"{caption}\n\n{indented}" if caption else indented)
    return _strings(tag, "text", ["\n\n---\n\n".join(parts).encode()], scalar=True)


def pictures(tag: str, images: Sequence[bytes], size: tuple[int, int], about: str = "") -> Any:
    """PNG files under one name; `size` is the first one's width and height in pixels, `about` Markdown."""
    return _strings(tag, "images", [*(str(side).encode() for side in size), *images], about=about)


def _strings(tag: str, plugin: str, strings: Sequence[bytes], *, scalar: bool = False, about: str = "") -> Any:
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

    dims = [] if scalar else [tensor_shape_pb2.TensorShapeProto.Dim(size=len(strings))]
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin)
    return summary_pb2.Summary.Value(
        tag=tag,
        metadata=summary_pb2.SummaryMetadata(plugin_data=data, summary_description=about),
        tensor=tensor_pb2.TensorProto(
            dtype=types_pb2.DT_STRING,
            tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=dims),
            string_val=list(strings),
        ),
    )


# ---------------------------------------------------------------------------------------------------------- histograms


def histogram(tag: str, weights: Tensor) -> Any:
    """How the numbers of a tensor are distributed; None if none is finite, or each process has a part of them."""
    if _divided(weights):
        return None
    values = weights.detach().float().flatten()
    values = values[values.isfinite()]
    if not len(values):
        return None
    from tensorboard.compat.proto.summary_pb2 import HistogramProto, Summary

    low, high = values.min().item(), values.max().item()
    # one bin for numbers that are all alike, as widths of 0 are none
    bins = BINS if high > low else 1
    counts = values.histc(bins, low, high).tolist() if bins > 1 else [float(len(values))]
    edges = torch.linspace(low, high, bins + 1, dtype=torch.float64)[1:].tolist() if bins > 1 else [high]
    total = values.sum(dtype=torch.float64).item()
    squares = torch.linalg.vector_norm(values, dtype=torch.float64).item() ** 2
    shown = HistogramProto(
        min=low, max=high, num=len(values), sum=total, sum_squares=squares, bucket_limit=edges, bucket=counts
    )
    return Summary.Value(tag=tag, histo=shown)


def divided(model: nn.Module) -> bool:
    """Whether each of several processes has a part of the weights only."""
    return any(map(_divided, model.parameters()))


def _divided(weights: Tensor) -> bool:
    if lw.ranks.count() == 1:
        return False
    from torch.distributed.tensor import DTensor

    return isinstance(weights, DTensor)


# ------------------------------------------------------------------------------------------------------------ sections


@singledispatch
def shown(section: Any) -> Iterator[Any]:
    """A section of a report as TensorBoard shows it, under `report/TITLE`."""
    kind = type(section).__name__.lower()
    yield text(_tag(section), [f"A section of {kind} is in report.html alone."])


@shown.register
def _figure(section: lw.Figure) -> Iterator[Any]:
    file = io.BytesIO()
    section.figure.savefig(file, format="png", dpi=PIXELS_PER_INCH)
    width, height = (round(inches * PIXELS_PER_INCH) for inches in section.figure.get_size_inches())
    yield pictures(_tag(section), [file.getvalue()], (width, height), section.note)


@shown.register
def _pictures(section: lw.Pictures) -> Iterator[Any]:
    images = section.images[:MOST_PICTURES]
    if not images:
        return
    captions = [f"{number}. {caption}" for number, caption in enumerate(section.captions[:MOST_PICTURES], 1)]
    about = "\n".join([_cut(section.note, len(section.images), MOST_PICTURES, "pictures"), "", *captions]).strip()
    height, width = images[0].shape[1:]
    yield pictures(_tag(section), [_png(image) for image in images], (width, height), about)


@shown.register
def _text(section: lw.Text) -> Iterator[Any]:
    note = _cut(section.note, len(section.passages), MOST_PASSAGES, "passages")
    yield text(_tag(section), section.passages[:MOST_PASSAGES], section.captions[:MOST_PASSAGES], note)


@shown.register
def _table(section: lw.Table) -> Iterator[Any]:
    rows = [section.columns, *section.rows[:MOST_ROWS]]
    cells = [[f"{cell:.4g}" if isinstance(cell, float) else str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    yield text(_tag(section), ["\n".join(lines)], note=_cut(section.note, len(section.rows), MOST_ROWS, "rows"))


def _tag(section: Any) -> str:
    return f"report/{section.title}"


def _cut(note: str, count: int, most: int, what: str) -> str:
    return f"{note} The first {most:,} of {count:,} {what}.".strip() if count > most else note


def _png(image_CHW: Tensor) -> bytes:
    """A picture as report.html has it: what lies outside 0..1 is cut off, other than three channels are grey."""
    from matplotlib.image import imsave

    image_CHW = image_CHW.detach().float().cpu().nan_to_num().clamp(0, 1)
    colours = image_CHW.permute(1, 2, 0) if len(image_CHW) == 3 else image_CHW.mean(0)
    file = io.BytesIO()
    imsave(file, colours.numpy(), format="png", cmap="gray", vmin=0, vmax=1)
    return file.getvalue()
