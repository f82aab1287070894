"""The user's own pictures: a folder with a sub-folder for each class."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from copy import copy
from pathlib import Path
from typing import Self

import torch
from labwright import Finding, LabwrightError, listed, nearest, sentence
from labwright_tasks.other_data import drift, unknown

from labwright_vision.data.augment import Augment, Crop, Flip, Grey, Jitter, Rotate, Scale, Shift
from labwright_vision.data.checking import examined
from labwright_vision.data.folders import (
    Found,
    Layout,
    Tally,
    class_folders,
    existing,
    expanded,
    found,
    known_pictures,
    laid_out,
    name_below,
)
from labwright_vision.data.own_pictures import Background, Channels, Files, OnDamaged, OwnPictures, Size, White
from labwright_vision.data.pictures import Share, held_out
from labwright_vision.data.policies import Erase, Policy
from labwright_vision.data.reading import size_of
from labwright_vision.data.seen import Picture, missing, of_names, of_pictures, readable, remarks
from labwright_vision.data.sizes import odd_sizes


class ImageFolder(OwnPictures):
    """Pictures of any format Pillow reads, in one sub-folder for each class; the sub-folders' names are the classes.

    Sub-folders `train`, `valid` and `test` with the classes below them are taken as they are; `training`, `val`,
    `validation`, `dev` and `testing` are other names for them. Each may be a zip archive: `train.zip` beside
    `test.zip`. What is held out for a part without a folder is of each class in proportion. The choice follows from the
    files' names, so that new pictures move few old ones. Hidden files are left out.

    Every picture is decoded once before a run begins. Values are scaled by the mean and deviation of ImageNet.

    A `jitter` of 0.5 and `grey` of 0.2 are those of SimCLR on small pictures (Chen et al. 2020). `policy` is
    RandAugment (Cubuk et al. 2020) or TrivialAugment (Müller & Hutter 2021), `erase` random erasing (Zhong et al.
    2020).

    Args:
        folder: folder or zip archive with a sub-folder for each class; archives are read where they are.
    """

    source = "a folder of yours"
    licence = "yours"
    kept = "image_folder.json"

    def __init__(
        self,
        *,
        folder: Path,
        size: Size = 64,
        channels: Channels = 3,
        background: Background = "white",
        white: White | None = None,
        on_damaged: OnDamaged = "refuse",
        valid: Share = 0.1,
        test: Share = 0.1,
        rotate: Rotate = 0.0,
        shift: Shift = 0.0,
        scale: Scale = 0.0,
        flip: Flip = False,
        crop: Crop = 0.0,
        jitter: Jitter = 0.0,
        grey: Grey = 0.0,
        policy: Policy = None,
        erase: Erase = 0.0,
    ) -> None:
        super().__init__(
            size=size,
            channels=channels,
            background=background,
            white=white,
            rotate=rotate,
            shift=shift,
            scale=scale,
            flip=flip,
            crop=crop,
            jitter=jitter,
            grey=grey,
            policy=policy,
            erase=erase,
        )
        self.folder, self.on_damaged, self.valid, self.test = folder, on_damaged, valid, test

    def prepare(self) -> None:
        root, tally = existing(expanded(self.folder), "task.data.folder"), Tally()
        layout = laid_out(root, tally)
        self.names = layout.names
        whole = self._usable(root, _found(root, layout, tally), layout, tally)
        parts = self._held_out(whole, layout)
        augment = self.augment(len(parts["train"]))
        self._splits = {name: self._files(part, augment if name == "train" else ()) for name, part in parts.items()}
        self._identities = {
            name: [f"{picture.name} {picture.facts.digest}" for picture in part] for name, part in parts.items()
        }
        self.facts = self.facts_of(self._splits["train"])
        self._left_out = tally.left_out()
        self._remarks = [
            *of_names(parts, layout),
            *remarks(parts, background=self.background, white=self.white, channels=self.channels),
        ]

    def on(self, path: Path) -> Self:
        """Pictures in a sub-folder for each class, or in such sub-folders of parts, which are taken together."""
        other, root, tally = copy(self), existing(expanded(path), "--on"), Tally()
        known = known_pictures(root, self.names, tally)
        examples = zip(known.files, examined(root, [path for path, _ in known.files]), strict=True)
        named = [Picture(path, label, seen, name_below(path, root), 0) for (path, label), seen in examples]
        part = readable(root, {"test": named}, tally, leave_out=self.on_damaged == "leave-out", white=self.white)[
            "test"
        ]
        if not part:
            raise LabwrightError(f"{root} has no picture that can be read.")
        split = self._files(part, ())
        other._splits = {"test": split}
        other._identities = {"test": [f"{picture.name} {picture.facts.digest}" for picture in part]}
        other._left_out = [*unknown(known.strange, "pictures"), *tally.left_out()]
        other._remarks = [
            *known.together(root),
            *missing("it", part, self.names),
            *of_pictures(part, background=self.background, white=self.white, channels=self.channels),
            *drift(self.facts_of(split), self.facts, len(split)),
        ]
        return other

    def checks(self) -> list[Finding]:
        """Pictures of odd sizes, and those of which the square leaves out most."""
        places = [(name, index) for name, part in self._splits.items() for index in range(len(part))]
        sizes = [size_of(self._splits[name].paths[index]) for name, index in places]
        return odd_sizes(places, sizes, self.size)

    def place(self, split: str, index: int) -> str:
        return str(self._splits[split].paths[index])

    def _usable(
        self, root: Found, parts: dict[str, list[Picture]], layout: Layout, tally: Tally
    ) -> dict[str, list[Picture]]:
        """The pictures that can be read; raises LabwrightError for those that can't, and for a class without any."""
        parts = readable(root, parts, tally, leave_out=self.on_damaged == "leave-out", white=self.white)
        for part, some in parts.items():
            if not some:
                raise LabwrightError(f"{layout.parts[part]} has no pictures: put some there, or take it away.")
        _check_classes(parts["train"], layout, tally)
        return parts

    def _held_out(self, parts: dict[str, list[Picture]], layout: Layout) -> dict[str, list[Picture]]:
        """The parts, with shares of `train` for those that are wanted and have no folder."""
        base, rest = layout.parts["train"], parts["train"]
        shares = {name: getattr(self, name) for name in ("test", "valid") if name not in parts and getattr(self, name)}
        if sum(shares.values()) >= 1:
            raise LabwrightError(
                f"task.data: valid and test leave nothing to learn from, given {self.valid}, {self.test}."
            )
        left, parts = 1.0, dict(parts)
        for name, share in shares.items():
            mask = held_out([picture.label for picture in rest], share / left, [picture.key for picture in rest])
            parts[name] = [picture for picture, out in zip(rest, mask, strict=True) if out]
            rest = [picture for picture, out in zip(rest, mask, strict=True) if not out]
            left -= share
            if not parts[name]:
                raise LabwrightError(
                    f"{base} has so few pictures that {share} of them is none: raise task.data.{name}, or set it to 0."
                )
        missing = [self.names[label] for label in set(range(len(self.names))) - {picture.label for picture in rest}]
        if missing:
            raise LabwrightError(
                f"{base}: no picture of {listed(missing)} is left to learn from; valid and test took all."
            )
        return parts | {"train": rest}

    def _files(self, part: Sequence[Picture], augment: Sequence[Augment]) -> Files:
        labels = torch.tensor([picture.label for picture in part], dtype=torch.int64)
        return Files([picture.path for picture in part], labels, self.reader(), augment)


def _found(root: Found, layout: Layout, tally: Tally) -> dict[str, list[Picture]]:
    """The pictures of each part by class and path. Raises LabwrightError for a folder that is no class of `train`."""
    files: dict[str, list[tuple[Found, int]]] = {}
    for part, base in layout.parts.items():
        of_class = class_folders(base)
        strange = [name for name in of_class if name not in layout.names]
        if strange:
            raise LabwrightError(
                f"{base} has classes that are not among the training pictures: {listed(strange)}"
                f"{sentence(nearest(strange[0], layout.names, ''))}"
            )
        files[part] = [
            (path, label)
            for label, name in enumerate(layout.names)
            if name in of_class
            for path in found(of_class[name], tally, root)
        ]
    paths = [path for some in files.values() for path, _ in some]
    seen = iter(examined(root, paths))
    return {
        part: [
            Picture(path, label, next(seen), name_below(path, root), _key(name_below(path, layout.parts[part])))
            for path, label in some
        ]
        for part, some in files.items()
    }


def _key(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()[:8])


def _check_classes(train: Sequence[Picture], layout: Layout, tally: Tally) -> None:
    labels = {picture.label for picture in train}
    empty = [name for label, name in enumerate(layout.names) if label not in labels]
    if empty:
        left = "; ".join(f"{kind.count:,} {kind.what}: {kind.why}" for kind in tally.left_out())
        raise LabwrightError(
            f"{layout.parts['train']} has no pictures of {listed(empty)}: put some there, or take the folder away."
            + (f" Left out were {left}." if left else "")
        )
