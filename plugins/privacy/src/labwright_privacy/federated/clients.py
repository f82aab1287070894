"""Which samples each client has. N samples, K clients, C classes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import torch
from labwright import Data, Labelled, LabwrightError, Split, generator
from labwright_tasks.folds import Grouped
from pydantic import Field
from torch import Tensor

Division = Annotated[
    Literal["even", "dirichlet", "group", "folder"],
    Field(
        description="who has which samples: `even` deals them out by chance; `dirichlet` each class in shares drawn "
        "with `alpha`; `group` as a column of the data says; `folder` as files lie."
    ),
]
COUNT = 10  # of clients to which samples are dealt out, where nobody says


def divided(
    part: Split, data: Data, division: Division, *, clients: int | None, alpha: float, seed: int
) -> list[Tensor]:
    """The indices of each client's samples, int64, in their order; clients without any are left out.

    Args:
        part: the training part.
        data: it is of, which knows the files of samples.
        division: `even` deals all out by chance; `dirichlet` each class in shares drawn from Dirichlet(alpha), so that
            with a small alpha a client has few classes (Hsu et al. 2019; Yurochkin et al. 2019); `group` are those that
            belong together by a column of the data; `folder` those whose files lie in one folder.
        clients: how many there are, for the first two.
        alpha: of the Dirichlet distribution.
        seed: of what is drawn.

    Raises LabwrightError for samples that can't be divided so.
    """
    if division in ("group", "folder"):
        if clients is not None:
            raise LabwrightError(
                f"method.clients: given {clients}; with method.division={division!r} there are as many as the data has "
                f"{division}s, so leave it out."
            )
        keys_N = _groups(part) if division == "group" else _folders(part, data)
    elif division == "dirichlet":
        keys_N = _by_class(part, clients or COUNT, alpha, seed)
    else:
        keys_N = torch.randperm(len(part), generator=generator(seed, 31)) % (clients or COUNT)
    members = [(keys_N == key).nonzero()[:, 0] for key in torch.unique(keys_N).tolist()]
    if len(members) == 1 and clients != 1:
        raise LabwrightError(
            f"method.division={division!r} makes one client of all {len(part):,} samples; a federation has more. "
            "method.division=even deals them out by chance."
        )
    return members


def _groups(part: Split) -> Tensor:
    if not isinstance(part, Grouped):
        raise LabwrightError(
            "method.division: the data doesn't say which samples belong together. Name the column in its own settings, "
            "such as task.data.group of 'tabular/table', or set method.division=even."
        )
    return part.groups


def _folders(part: Split, data: Data) -> Tensor:
    whole = data.split("train")
    if whole is None or len(whole) != len(part):
        raise LabwrightError("method.division: the task makes other samples of the data's, which lie in no folder.")
    folders = [str(Path(data.place("train", index)).parent) for index in range(len(part))]
    number = {folder: place for place, folder in enumerate(sorted(set(folders)))}
    return torch.tensor([number[folder] for folder in folders])


def _by_class(part: Split, clients: int, alpha: float, seed: int) -> Tensor:
    labels_N = part.labels if isinstance(part, Labelled) else None
    if not isinstance(labels_N, Tensor) or labels_N.dim() != 1 or labels_N.is_floating_point():
        raise LabwrightError(
            "method.division: 'dirichlet' draws shares of each class, and the samples have no classes; set "
            "method.division=even, group or folder."
        )
    keys_N = torch.empty(len(labels_N), dtype=torch.int64)
    random = generator(seed, 32)
    for label in torch.unique(labels_N).tolist():
        members = (labels_N == label).nonzero()[:, 0]
        # normalised gammas are Dirichlet; in float64, as a small alpha gives tiny ones
        shares_K = torch._standard_gamma(torch.full((clients,), alpha, dtype=torch.float64), generator=random)
        ends_K = (shares_K.cumsum(0) / shares_K.sum() * len(members)).round().long()
        mixed = members[torch.randperm(len(members), generator=random)]
        keys_N[mixed] = torch.bucketize(torch.arange(len(members)), ends_K, right=True).clamp_(max=clients - 1)
    return keys_N
