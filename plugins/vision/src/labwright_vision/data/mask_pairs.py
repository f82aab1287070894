"""Pictures and their masks, in folders side by side: which belong together, and to which part."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from labwright import LabwrightError, listed
from labwright_tasks.parts import NAMES, part_named

from labwright_vision.data.coco_masks import coco_masks
from labwright_vision.data.folders import Found, Tally, archives, entries, folders, found, name_below, plural
from labwright_vision.data.masks import Mask, MaskFile

IMAGES = ("images", "image", "imgs", "pictures", "jpegimages")
_INSTANCES, _JSON, _YEAR = "instances_", ".json", "0123456789_-"
MASKS = ("masks", "mask", "annotations", "labels", "segmentationclass")


@dataclass(frozen=True)
class Pair:
    """A picture, its mask, and the picture's name below the folder of pictures, without a suffix."""

    name: str
    picture: Found
    mask: Mask


def paired(root: Found, suffix: str, tally: Tally) -> dict[str, list[Pair]]:
    """The pairs of each part, `train` always: of folders, or zip archives, called like parts, or of folders in them.

    `root` has parts with images/ and masks/ in them, or images/ and masks/ with parts in them, or without.

    Raises LabwrightError for folders that lie otherwise, and for pictures and masks that stand alone.
    """
    if coco := _of_coco(root, tally):
        if "train" not in coco:
            raise LabwrightError(f"{root}/annotations has no instances_train*.json to learn from.")
        return coco
    parts = _named_parts([*folders(root), *archives(root)], root)
    if parts:
        if "train" not in parts:
            raise LabwrightError(
                f"{root} has {listed(folder.name for folder in parts.values())}, but no folder "
                f"{' or '.join(NAMES['train'])}: put what is to be learned from there, in images/ and masks/."
            )
        _tell_others(root, parts.values(), tally)
        return {part: _of_base(folder, suffix, root, tally) for part, folder in parts.items()}
    images = _side(root, "pictures", IMAGES)
    masks = next((folder for folder in folders(root) if folder.name.casefold() in MASKS), root)
    inner_images, inner_masks = (_named_parts(folders(side), side) for side in (images, masks))
    if "train" not in inner_images or "train" not in inner_masks:
        return {"train": _of_base(root, suffix, root, tally)}
    for part in inner_images.keys() - inner_masks.keys():
        # published benchmarks keep the masks of their test part to themselves
        without = inner_images[part]
        tally.add("picture", f"in {images.name}/{without.name}, which has no masks", count=len(found(without, Tally())))
    both = [part for part in inner_images if part in inner_masks]
    _tell_others(images, inner_images.values(), tally)
    _tell_others(masks, [inner_masks[part] for part in both], tally)
    return {part: _pairs(inner_images[part], inner_masks[part], suffix, root, tally) for part in both}


def together(root: Found, suffix: str, tally: Tally) -> list[Pair]:
    """All pairs below a root, whatever part they are of."""
    if coco := _of_coco(root, tally):
        return [pair for part in coco.values() for pair in part]
    parts = _named_parts([*folders(root), *archives(root)], root)
    if not parts:
        return [pair for part in paired(root, suffix, tally).values() for pair in part]
    _tell_others(root, parts.values(), tally)
    return [pair for base in parts.values() for pair in _of_base(base, suffix, root, tally)]


def _of_coco(root: Found, tally: Tally) -> dict[str, list[Pair]]:
    """The pairs of COCO's own layout: annotations/instances_train2017.json, and train2017/ or images/train2017/.

    Nothing where it isn't so. Raises LabwrightError for annotations without their folder.
    """
    beside = {folder.name: folder for folder in folders(root)}
    annotated = beside.get("annotations")
    files = {} if annotated is None else {file.name: file for file in entries(annotated)}
    named = {name[len(_INSTANCES) : -len(_JSON)]: file for name, file in files.items() if _is_instances(name)}
    if not named:
        return {}
    if "images" in beside:
        beside |= {folder.name: folder for folder in folders(beside["images"])}
    parts: dict[str, list[Pair]] = {}
    for name, file in named.items():
        part = part_named(name.rstrip(_YEAR))
        if part is None or part in parts:
            again = "a part that is there already" if part else "no part"
            raise LabwrightError(
                f"{file} is of {name!r}, {again}: {listed(NAMES)}, with a year behind it, are. Take it away."
            )
        if name not in beside:
            raise LabwrightError(f"{file} is there, and no folder {root}/{name} with its pictures: add it.")
        pictures, masks = _by_stem(beside[name], "", tally), coco_masks(file)
        parts[part] = _joined(pictures, masks, root, f"no such picture in {file}", f"no {beside[name]}/NAME.*")
    for name, folder in beside.items():
        if part_named(name.rstrip(_YEAR)) and name not in named:
            # COCO keeps the masks of its test part to itself
            tally.add(
                "picture", f"in {name}, which has no {_INSTANCES}{name}{_JSON}", count=len(found(folder, Tally()))
            )
    return parts


def _is_instances(name: str) -> bool:
    return name.startswith(_INSTANCES) and name.endswith(_JSON)


def _tell_others(folder: Found, parts: Collection[Found], tally: Tally) -> None:
    """What lies in a folder and in none of its parts goes to the tally."""
    used = {part.name for part in parts}
    for path in found(folder, Tally()):
        name = name_below(path, folder)
        if name.partition("/")[0] not in used:
            tally.add("picture", f"in no part of {folder.name}", name)


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


def _side(base: Found, what: str, names: Sequence[str]) -> Found:
    """The folder of pictures, or of masks. Raises LabwrightError where there is none, or there are several."""
    inner = folders(base)
    of_side = [folder for folder in inner if folder.name.casefold() in names]
    if len(of_side) == 1:
        return of_side[0]
    some = listed(folder.name for folder in inner) if inner else "no folders"
    raise LabwrightError(
        f"{base} has {'several folders' if of_side else 'no folder'} of {what}: it has {some}. Put pictures into "
        f"{base}/images and their masks, of the same names, into {base}/masks; folders of {what} may be called "
        f"{listed(names)}."
    )


def _sides(base: Found) -> tuple[Found, Found]:
    return _side(base, "pictures", IMAGES), _side(base, "masks", MASKS)


def _of_base(base: Found, suffix: str, root: Found, tally: Tally) -> list[Pair]:
    """The pairs of a folder with images/, and masks/ or a json of COCO's beside them."""
    inner = [folder for folder in folders(base) if folder.name.casefold() in MASKS]
    places = [base, *inner] if all(not found(folder, Tally()) for folder in inner) else []
    files = [file for place in places for file in entries(place) if file.name.lower().endswith(".json")]
    files = [file for file in files if file.name != "classes.json"]
    if not files:
        return _pairs(*_sides(base), suffix, root, tally)
    if len(files) > 1:
        raise LabwrightError(f"{base} has {listed(file.name for file in files)}: leave the one that is meant there.")
    images = _side(base, "pictures", IMAGES)
    pictures = _by_stem(images, "", tally)
    return _joined(pictures, coco_masks(files[0]), root, f"no such picture in {files[0]}", f"no {images}/NAME.*")


def _pairs(images: Found, masks: Found, suffix: str, root: Found, tally: Tally) -> list[Pair]:
    pictures, of_masks = _by_stem(images, "", tally), _by_stem(masks, suffix, tally)
    for folder, files in ((images, pictures), (masks, of_masks)):
        if not files:
            ends = f" whose names end in {suffix!r} and a suffix" if suffix and folder is masks else ""
            raise LabwrightError(f"{folder} is empty: there are no {folder.name}{ends}.")
    read = {name: MaskFile(path) for name, path in of_masks.items()}
    return _joined(pictures, read, root, f"no {masks}/NAME{suffix}.*", f"no {images}/NAME.*")


def _joined(
    pictures: Mapping[str, Found], masks: Mapping[str, Mask], root: Found, no_mask: str, no_picture: str
) -> list[Pair]:
    """Raises LabwrightError for pictures and masks that stand alone; the reasons have NAME in the place of a name."""
    for what, own, others, other, why in (
        ("picture", pictures, masks, "mask", no_mask),
        ("mask", masks, pictures, "picture", no_picture),
    ):
        alone = [name for name in own if name not in others]
        if alone:
            count = f"{len(alone):,} of {len(own):,} {plural(what, len(own))}"
            raise LabwrightError(
                f"{root}: {count} {'has' if len(alone) == 1 else 'have'} no {other}, such as {own[alone[0]]}: there "
                f"is {why.replace('NAME', alone[0])}. Add it, or take the {what} away."
            )
    return [Pair(name, picture, masks[name]) for name, picture in pictures.items()]


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
