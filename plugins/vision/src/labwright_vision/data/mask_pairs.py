"""Pictures and their masks, in folders side by side: which belong together, and to which part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from labwright import LabwrightError, listed
from labwright_tasks.parts import NAMES, part_named

from labwright_vision.data.folders import Found, Tally, archives, folders, found, name_below, plural
from labwright_vision.data.masks import MaskFile

IMAGES = ("images", "image", "imgs", "pictures", "jpegimages")
MASKS = ("masks", "mask", "annotations", "labels", "segmentationclass")
_NAMED = 3


@dataclass(frozen=True)
class Pair:
    """A picture, its mask, and the picture's name below the folder of pictures, without a suffix."""

    name: str
    picture: Found
    mask: MaskFile


def paired(root: Found, suffix: str, tally: Tally) -> dict[str, list[Pair]]:
    """The pairs of each part, `train` always: of folders, or zip archives, called like parts, or of folders in them.

    `root` has parts with images/ and masks/ in them, or images/ and masks/ with parts in them, or without.

    Raises LabwrightError for folders that lie otherwise, and for pictures and masks that stand alone.
    """
    parts = _named_parts([*folders(root), *archives(root)], root)
    if parts:
        if "train" not in parts:
            raise LabwrightError(
                f"{root} has {listed(folder.name for folder in parts.values())}, but no folder "
                f"{' or '.join(NAMES['train'])}: put what is to be learned from there, in images/ and masks/."
            )
        return {part: _pairs(*_sides(folder), suffix, root, tally) for part, folder in parts.items()}
    images, masks = _sides(root)
    inner_images, inner_masks = (_named_parts(folders(side), side) for side in (images, masks))
    if "train" not in inner_images or "train" not in inner_masks:
        return {"train": _pairs(images, masks, suffix, root, tally)}
    for part in inner_images.keys() - inner_masks.keys():
        # published benchmarks keep the masks of their test part to themselves
        tally.add("picture", f"in {images.name}/{inner_images[part].name}, which has no masks", count=1)
    both = [part for part in inner_images if part in inner_masks]
    return {part: _pairs(inner_images[part], inner_masks[part], suffix, root, tally) for part in both}


def together(root: Found, suffix: str, tally: Tally) -> list[Pair]:
    """All pairs below a root, whatever part they are of."""
    parts = _named_parts([*folders(root), *archives(root)], root)
    bases = [*parts.values()] if parts else [root]
    return [pair for base in bases for pair in _pairs(*_sides(base), suffix, root, tally)]


def _named_parts(inner: Sequence[Found], root: Found) -> dict[str, Found]:
    parts: dict[str, Found] = {}
    for folder in inner:
        part = part_named(folder.name)
        if part is None:
            continue
        if part in parts:
            raise LabwrightError(
                f"{root} has two folders for the part {part!r}, {parts[part].name} and {folder.name}: put them "
                "together."
            )
        parts[part] = folder
    return parts


def _sides(base: Found) -> tuple[Found, Found]:
    """The folders of pictures and of masks. Raises LabwrightError where one is missing, or there are several."""
    inner = folders(base)
    sides = []
    for what, names in (("pictures", IMAGES), ("masks", MASKS)):
        of_side = [folder for folder in inner if folder.name.casefold() in names]
        if len(of_side) != 1:
            some = listed(folder.name for folder in inner) if inner else "no folders"
            several = f"several folders of {what}" if of_side else f"no folder of {what}"
            raise LabwrightError(
                f"{base} has {several}: it has {some}. Put pictures into {base}/images and their masks, of the same "
                f"names, into {base}/masks; folders of {what} may be called {listed(names)}."
            )
        sides.append(of_side[0])
    return sides[0], sides[1]


def _pairs(images: Found, masks: Found, suffix: str, root: Found, tally: Tally) -> list[Pair]:
    pictures, of_masks = _by_stem(images, "", tally), _by_stem(masks, suffix, tally)
    for folder, files in ((images, pictures), (masks, of_masks)):
        if not files:
            ends = f" whose names end in {suffix!r} and a suffix" if suffix and folder is masks else ""
            raise LabwrightError(f"{folder} is empty: there are no {folder.name}{ends}.")
    for what, files, others, other, where in (
        ("picture", pictures, of_masks, "mask", masks),
        ("mask", of_masks, pictures, "picture", images),
    ):
        alone = [name for name in files if name not in others]
        if alone:
            count = f"{len(alone):,} of {len(files):,} {plural(what, len(files))}"
            raise LabwrightError(
                f"{root}: {count} {'has' if len(alone) == 1 else 'have'} no {other}, such as {files[alone[0]]}: there "
                f"is no {where}/{alone[0]}{suffix if other == 'mask' else ''}.*. Add it, or take the {what} away."
            )
    return [Pair(name, picture, MaskFile(of_masks[name])) for name, picture in pictures.items()]


def _by_stem(folder: Found, suffix: str, tally: Tally) -> Mapping[str, Found]:
    """Pictures by their names below the folder, without the suffix."""
    files: dict[str, Found] = {}
    for path in found(folder, tally):
        stem = name_below(path, folder).rpartition(".")[0]
        if suffix and not stem.endswith(suffix):
            tally.add("mask", f"whose name has no {suffix!r} before its ending", path)
            continue
        name = stem.removesuffix(suffix) if suffix else stem
        if name in files:
            raise LabwrightError(f"{folder} has {files[name].name} and {path.name}: take one of them away.")
        files[name] = path
    return files
