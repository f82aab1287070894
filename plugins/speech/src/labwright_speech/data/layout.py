"""What lies in a folder or archive of recordings: its parts, its classes, and what is left out of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from labwright import LabwrightError, LeftOut, listed
from labwright_tasks.parts import NAMES, part_named

from labwright_speech.data.sound import several
from labwright_speech.data.stores import Archive, Store, store

_LISTS = {"validation_list.txt": "valid", "testing_list.txt": "test"}  # of SPEECHCOMMANDS


@dataclass
class Layout:
    """Each part's store and the names of its recordings; a part "" is everything, of which shares are held out."""

    parts: list[tuple[str, Store, list[str]]] = field(default_factory=list)
    listed: dict[str, str] = field(default_factory=dict)  # the part of a recording, by SPEECHCOMMANDS' lists
    left_out: list[LeftOut] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)


def laid_out(root: Path, setting: str, *, by_folder: bool) -> Layout:
    """Which folders and archives of a folder, or folders of an archive, are parts, and what isn't used.

    With `train`, by any of its names, `valid` and `test` beside it are parts, too, and nothing else there is used.
    `by_folder` says that folders are classes: where everything lies in one folder, that is none, and none of them has a
    part's name.

    Raises LabwrightError if there is nothing, where two are the same part, and where parts stand without `train` or
    below classes.
    """
    layout = Layout()
    whole = store(root, setting)
    if by_folder:
        whole = _within(whole)
    layout.left_out += whole.left_out
    parts = _parts(whole, root, layout)
    for part, lie in parts.items() or {"": whole}.items():
        inner = _within(lie) if by_folder else lie
        names = [name for name in inner.names if not any(folder.startswith("_") for folder in name.split("/"))]
        _leave_out(layout, len(inner.names) - len(names), "recording", "below or with a name that begins with _")
        if by_folder:
            _check_depth(inner, names, layout)
        layout.parts.append((part, inner, names))
    if not parts:
        _read_lists(layout)
    return layout


def within(whole: Store, classes: Sequence[str]) -> list[Store]:
    """Where the folders of classes lie: in the only folder there is, or in those of parts, unless that is a class."""
    lie = _within(whole)
    tops = dict.fromkeys(name.split("/")[0] for name in lie.names if "/" in name)
    return [lie.below(top) for top in tops if part_named(top) and top not in classes] or [lie]


def _within(lie: Store) -> Store:
    """The only folder that all recordings lie in, as long as there are folders below it; otherwise the same."""
    while True:
        tops = {name.split("/")[0] for name in lie.names if not name.startswith("_")}
        if len(tops) != 1 or any(name.count("/") < 2 for name in lie.names):
            return lie
        (top,) = tops
        if part_named(top):
            return lie
        lie = lie.below(top)


def _parts(whole: Store, root: Path, layout: Layout) -> dict[str, Store]:
    """The folders and archives that are parts; what else there is goes to what is left out, if there are any."""
    inside = Counter(name.split("/")[0] if "/" in name else "" for name in whole.names)
    loose = inside.pop("", 0)
    archives = {path.stem: path for path in sorted(root.glob("*.zip"))} if root.is_dir() else {}
    called: dict[str, list[str]] = {}
    for name in [*inside, *(stem for stem in archives if stem not in inside)]:
        part = part_named(name)
        if part:
            called.setdefault(part, []).append(name)
    if not called:
        return {}
    for part, names in called.items():
        if len(names) > 1:
            raise LabwrightError(
                f"{root} has several folders for the part {part!r}: {listed(names)}. Put their recordings together, or "
                "move one of them away."
            )
    if "train" not in called:
        raise LabwrightError(
            f"{root} has {listed(names[0] for names in called.values())}, but no folder {' or '.join(NAMES['train'])}: "
            "put what is to be learned from there. If it is a class and no part, rename it."
        )
    used = {names[0]: part for part, names in called.items()}
    stores: dict[str, Store] = {}
    for name, part in used.items():
        stores[part] = whole.below(name) if name in inside else Archive(archives[name])
        if name not in inside:
            _uncount(layout, ".zip")
            layout.left_out += stores[part].left_out
    _leave_out(layout, loose, "recording", "beside the parts")
    for name, count in inside.items():
        if name not in used:
            _leave_out(layout, count, "recording", f"in {name}, which is no part's name")
    return stores


def _check_depth(lie: Store, names: list[str], layout: Layout) -> None:
    deep = [name for name in names if name.count("/") > 1]
    for name in names:
        folders = name.split("/")[:-1]
        inner = next((folder for folder in folders if part_named(folder)), None)
        if inner is not None:
            raise LabwrightError(
                f"{lie.label(name)}: the folder {inner!r} is called like a part, and parts stand above classes: give "
                "the folder with the parts in it as task.data.folder, or rename it."
            )
    if deep:
        layout.remarks.append(
            f"{len(deep):,} recordings lie deeper than their class's folder, such as {lie.label(deep[0])}, whose class "
            f"is {deep[0].split('/')[0]!r}; task.data.pattern can say otherwise."
        )


def _read_lists(layout: Layout) -> None:
    """The parts of the recordings in SPEECHCOMMANDS' lists."""
    ((_, lie, names),) = layout.parts
    known, unknown = set(names), []
    for file, part in _LISTS.items():
        text = lie.text(file)
        if text is None:
            continue
        _uncount(layout, ".txt")
        for line in filter(None, map(str.strip, text.splitlines())):
            layout.listed[line] = part
            if line not in known:
                unknown.append(f"{line} in {file}")
    if unknown:
        layout.remarks.append(f"Lists name {len(unknown):,} recordings that aren't there: {several(unknown)}.")
    if layout.listed:
        layout.listed = {name: layout.listed.get(name, "train") for name in names}


def _leave_out(layout: Layout, count: int, what: str, why: str) -> None:
    if count:
        layout.left_out.append(LeftOut(count, what if count == 1 else f"{what}s", why))


def _uncount(layout: Layout, suffix: str) -> None:
    """Take one file of that suffix, which is used, from what is left out."""
    for place, one in enumerate(layout.left_out):
        if one.why == suffix:
            what = "file" if one.count == 2 else "files"
            layout.left_out[place : place + 1] = [replace(one, count=one.count - 1, what=what)] if one.count > 1 else []
            return
