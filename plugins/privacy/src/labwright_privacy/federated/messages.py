"""What server and clients send each other: tensors as safetensors, nothing that could run."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from labwright import LabwrightError, Task
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from labwright_privacy.federated.local_training import ClientUpdate

_ROOM = 2**16  # bytes for names, shapes and losses beside the tensors themselves
_SHORTEST = 16  # characters of a token
_MOST_LOSSES = 64


class Unfit(ValueError):
    """A body that isn't what it should be, in words for whoever sent it."""


def written(tensors: Mapping[str, Sequence[Tensor]]) -> bytes:
    """Lists of tensors by name, such as the parameters of a model."""
    return save(
        {
            f"{name}.{place}": tensor.detach().cpu().contiguous()
            for name, some in tensors.items()
            for place, tensor in enumerate(some)
        }
    )


def read(body: bytes, like: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    """The lists of tensors again, each in number, shape and type as those in `like`. Raises Unfit."""
    return _lists(_loaded(body), like)


def update_written(update: ClientUpdate) -> bytes:
    """A client's update, its number of samples and its losses among the tensors."""
    tensors = {"samples": torch.tensor(update.samples)}
    tensors |= {f"losses/{name}": loss.detach().double().cpu() for name, loss in update.losses.items()}
    for name, changes in (("parameters", update.parameters), ("buffers", update.buffers)):
        tensors |= {f"{name}.{place}": change.cpu().contiguous() for place, change in enumerate(changes)}
    return save(tensors)


def update_read(body: bytes, like: Mapping[str, Sequence[Tensor]]) -> ClientUpdate:
    """A client's update again. Raises Unfit for another model's, and for one that holds no finite numbers."""
    tensors = _loaded(body)
    samples = tensors.pop("samples", None)
    if samples is None or samples.shape != () or samples.dtype != torch.int64 or not 0 < int(samples) < 2**53:
        raise Unfit("'samples' is no number of samples")
    losses = {name.removeprefix("losses/"): tensors.pop(name) for name in [*tensors] if name.startswith("losses/")}
    if not 0 < len(losses) <= _MOST_LOSSES or any(loss.shape != () for loss in losses.values()):
        raise Unfit("its losses are no numbers")
    lists = _lists(tensors, like)
    for tensor in (*losses.values(), *(tensor for some in lists.values() for tensor in some)):
        if not bool(torch.isfinite(tensor).all()):
            raise Unfit("it holds a value that is no finite number")
    return ClientUpdate(int(samples), lists["parameters"], lists["buffers"], losses)


def most_bytes(like: Mapping[str, Sequence[Tensor]]) -> int:
    """How large a body of such tensors can be."""
    tensors = [tensor for some in like.values() for tensor in some]
    return sum(tensor.numel() * tensor.element_size() + 256 for tensor in tensors) + _ROOM


def token_in(file: Path) -> str:
    """The token that server and clients share. Raises LabwrightError for a file that can't be one."""
    how = f"Make one by `head -c 24 /dev/urandom | base64 > {file}` and give it to every client."
    try:
        token = file.expanduser().read_text(encoding="ascii").strip()
    except OSError as error:
        raise LabwrightError(f"the token {str(file)!r} can't be read: {error.strerror}. {how}") from error
    except UnicodeDecodeError as error:
        raise LabwrightError(f"the token {str(file)!r} isn't text. {how}") from error
    if len(token) < _SHORTEST or not token.isprintable() or " " in token:
        raise LabwrightError(
            f"the token {str(file)!r} has {len(token)} characters; {_SHORTEST} or more in one line can't be guessed. "
            f"{how}"
        )
    return token


def learned_by(task: Task) -> str:
    """A digest of what a task keeps of its data: with other classes the same weights would mean something else."""
    digest = hashlib.sha256()
    with TemporaryDirectory(prefix="labwright-") as scratch:
        folder = Path(scratch)
        task.save(folder)
        for file in sorted(file for file in folder.rglob("*") if file.is_file()):
            if file.name != "facts.json":  # what the samples are like, which is each client's own
                name, content = file.relative_to(folder).as_posix().encode(), file.read_bytes()
                digest.update(b"%d %s %d " % (len(name), name, len(content)) + content)
    return digest.hexdigest()


def _loaded(body: bytes) -> dict[str, Tensor]:
    try:
        return load(body)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:  # numpy's types that torch lacks
        raise Unfit("it is no safetensors file") from error


def _lists(tensors: Mapping[str, Tensor], like: Mapping[str, Sequence[Tensor]]) -> dict[str, list[Tensor]]:
    wanted = {f"{name}.{place}": tensor for name, some in like.items() for place, tensor in enumerate(some)}
    if tensors.keys() != wanted.keys():
        raise Unfit(f"it has {len(tensors)} tensors, and the model {len(wanted)}")
    for name, tensor in tensors.items():
        if (tensor.shape, tensor.dtype) != (wanted[name].shape, wanted[name].dtype):
            raise Unfit(
                f"{name!r} is {tensor.dtype} of {tuple(tensor.shape)}, and the model's {wanted[name].dtype} of "
                f"{tuple(wanted[name].shape)}"
            )
    return {name: [tensors[f"{name}.{place}"] for place in range(len(some))] for name, some in like.items()}
