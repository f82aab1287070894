"""Texts with labels out of the Hugging Face datasets library."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from labwright.errors import LabwrightError, listed, nearest, sentence

from labwright_nlp.data.reading import Rows, label_of, written
from labwright_nlp.data.texts import Length, Share, Texts
from labwright_nlp.tokenizing import Case, Kind, Vocabulary

_VALID = ("valid", "validation", "val", "dev")


class Datasets(Texts):
    """A dataset of the Hugging Face hub by its name, or a folder that the datasets library wrote or can read.

    `dataset` is a folder, if there is one of that name, else a name on the hub, such as "rotten_tomatoes"; `subset`
    is its configuration. Its splits `train`, `validation` and `test` are taken as they are, and one it lacks is held
    out as with `nlp/text-files`, whose other settings are the same. Needs the extra `labwright-nlp[datasets]`.
    """

    source = "the Hugging Face hub, or a folder"
    licence = "the dataset's own; see its page"

    def __init__(
        self,
        *,
        dataset: str,
        subset: str | None = None,
        text: str = "text",
        label: str = "label",
        valid: Share = 0.1,
        test: Share = 0.1,
        tokenizer: Kind = "word",
        vocabulary: Vocabulary = 20_000,
        pretrained: Path | None = None,
        case: Case = "keep",
        length: Length = 128,
    ) -> None:
        super().__init__(
            tokenizer=tokenizer,
            vocabulary=vocabulary,
            pretrained=pretrained,
            case=case,
            length=length,
            valid=valid,
            test=test,
        )
        self.dataset, self.subset, self.text, self.label = dataset, subset, text, label

    def rows(self) -> dict[str, Rows]:
        splits = _loaded(self.dataset, self.subset)
        if "train" not in splits:
            raise LabwrightError(f"dataset {self.dataset!r} has no split 'train'; it has {listed(splits)}.")
        names = {"train": "train", "test": "test"} | dict.fromkeys(_VALID, "valid")
        return {names[name]: self._rows(name, part) for name, part in splits.items() if name in names}

    def _rows(self, split: str, part: Any) -> Rows:
        origin = f"dataset {self.dataset!r}, split {split!r}"
        for setting, column in (("text", self.text), ("label", self.label)):
            if column not in part.column_names:
                raise LabwrightError(
                    f"{origin}: there is no column {column!r}{nearest(column, part.column_names)} It has "
                    f"{listed(part.column_names)}; task.data.{setting} says which one holds the {setting}."
                )
        names = getattr(part.features[self.label], "names", None)  # of a ClassLabel
        labels, texts = [], []
        for number, value in enumerate(part[self.label]):
            if names and value == -1:  # as the hub marks rows whose label is kept secret
                raise LabwrightError(
                    f"{origin}, row {number}: it has no label. Where a test part's labels aren't public, copy the "
                    "dataset without that part."
                )
            labels.append(names[value] if names else label_of(value, f"{origin}, row {number}"))
        for number, value in enumerate(part[self.text]):
            texts.append(written(value, f"{origin}, row {number}"))
        return Rows(texts, labels, origin, list(range(len(texts))))


def _loaded(dataset: str, subset: str | None) -> dict[str, Any]:
    """The splits by name. Raises LabwrightError in the library's words if there is no such dataset within reach."""
    folder = Path(dataset).expanduser()
    if not folder.is_dir() and (folder.is_absolute() or dataset.startswith(".") or dataset.count("/") > 1):
        raise LabwrightError(f"task.data.dataset: there is no folder {str(folder)!r}.")
    if find_spec("datasets") is None:
        raise LabwrightError(
            "data 'nlp/datasets' needs the datasets library: `pip install 'labwright-nlp[datasets]'` brings it."
        )
    import datasets

    datasets.disable_progress_bars()
    asking = logging.getLogger("huggingface_hub")
    before = asking.level
    asking.setLevel(logging.ERROR)  # it announces each time it asks again
    try:
        if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
            found = datasets.load_from_disk(str(folder))
        else:
            found = datasets.load_dataset(str(folder) if folder.is_dir() else dataset, subset)
    except Exception as error:  # whatever the hub, the network or a file has to say
        said = str(error).strip().split("\n")[0]
        raise LabwrightError(
            f"task.data.dataset: {dataset!r} can't be loaded: {type(error).__name__}: {sentence(said)} It is a name on "
            "the Hugging Face hub, which needs the network the first time, or a folder."
        ) from error
    finally:
        asking.setLevel(before)
    return dict(found) if isinstance(found, dict) else {"train": found}
