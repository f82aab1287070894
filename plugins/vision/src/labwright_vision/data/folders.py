"""What lies in a folder of pictures: its parts, its classes, their pictures, and what is left out of it."""

from __future__ import annotations

import os
import unicodedata
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labwright import LabwrightError, LeftOut, listed, located
from labwright_tasks.other_data import none_known
from labwright_tasks.parts import NAMES, part_named

from labwright_vision.data.archive import Archived, archived
from labwright_vision.data.reading import SUFFIXES

# What systems and programs leave behind, besides names that begin with a dot.
_LEFTOVERS = {"__MACOSX", "__pycache__", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
_NAMED = 6  # suffixes

Kind = Literal["folder", "picture", "other", "hidden", "broken", "special"]
Place = tuple[int, int]  # a folder's device and number there
Found = Path | Archived


class Tally:
    """What is left out: how many of what, why, and the first of them as an example."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, str]] = Counter()
        self._suffixes: Counter[str] = Counter()
        self._first: dict[tuple[str, str], str] = {}

    def add(self, what: str, why: str, example: object = "", count: int = 1) -> None:
        """`what` is one of them, such as "link"."""
        if count:
            self._counts[what, why] += count
            self._first.setdefault((what, why), f", such as {example}" if str(example) else "")

    def other(self, name: str) -> None:
        """A file that is no picture by its name."""
        self._suffixes[_suffix(name) or "without a suffix"] += 1

    def left_out(self) -> list[LeftOut]:
        """One for each reason, the most frequent first; suffixes after them, the rare ones together."""
        reasons = [
            LeftOut(count, plural(what, count), why + self._first[what, why])
            for (what, why), count in self._counts.most_common()
        ]
        suffixes = self._suffixes.most_common()
        rest = sum(count for _, count in suffixes[_NAMED:])
        shown = [*suffixes[:_NAMED], *([("of other suffixes", rest)] if rest else [])]
        return reasons + [LeftOut(count, plural("file", count), suffix) for suffix, count in shown]


@dataclass(frozen=True)
class Layout:
    """Each part's folder, `train` always, and the names of the classes: the folders in that of `train`."""

    parts: dict[str, Found]
    names: tuple[str, ...]


def laid_out(root: Found, tally: Tally) -> Layout:
    """Which folders are parts and which are classes; what stands beside them goes to the tally.

    With a folder `train`, by any of its names, that has folders of classes, `valid` and `test` beside it are parts,
    too, and nothing else there is used; train.zip is such a folder as well. Without one, all folders are classes.

    Raises LabwrightError where two folders are the same part, where parts stand without `train` or below classes, and
    where there are no two classes.
    """
    named: dict[str | None, list[Found]] = defaultdict(list)
    for folder in [*folders(root), *archives(root)]:
        named[part_named(folder.name)].append(folder)
    others = named.pop(None, [])
    for part, several in named.items():
        if len(several) > 1:
            raise LabwrightError(
                f"{root} has several folders for the part {part!r}: {listed(folder.name for folder in several)}. "
                "Put their pictures together, or move one of them away."
            )
    parts = {str(part): several[0] for part, several in named.items()}
    if not parts:
        parts = {"train": root}
    elif "train" in parts and folders(parts["train"]):
        for folder in others:
            tally.add("file", f"in {folder.name}, which is no part's name", count=_count(folder))
        parts = {part: folder for part, folder in parts.items() if _has_classes(folder, tally)}
    else:
        raise LabwrightError(_without_train(root, parts))
    for folder in sorted({root, *parts.values()}, key=str):
        _look_beside(folder, root, tally)
    return Layout(parts, _classes(parts["train"], root))


@dataclass(frozen=True)
class Known:
    """Pictures whose class is known, with its number; of the others what they are called; the parts they lie in."""

    files: list[tuple[Found, int]]
    strange: list[str]
    parts: list[str]

    def together(self, root: Found) -> list[str]:
        """A sentence if they lie in several parts."""
        several = len(self.parts) > 1
        return [f"the parts {listed(self.parts)} of {root} are measured together."] if several else []


def known_pictures(root: Found, names: Sequence[str], tally: Tally) -> Known:
    """The pictures in folders of classes, or in such folders of parts; what else is there goes to the tally.

    Raises LabwrightError if there is none whose class is among the names.
    """
    inner = folders(root)
    parts = [base for base in inner if part_named(base.name) and normal(base.name) not in names]
    for folder in [folder for folder in inner if parts and folder not in parts]:
        tally.add("file", f"in {folder.name}, which is no part's name", count=_count(folder))
    given = [pair for base in parts or [root] for pair in class_folders(base).items()]
    files = [(path, name) for name, folder in given for path in found(folder, tally, root)]
    known = [(path, names.index(name)) for path, name in files if name in names]
    if not known and not given and found(root, Tally()):
        raise LabwrightError(
            f"{root} has pictures, but none in a sub-folder for its class: `labwright predict RUN --on {root}` answers "
            "without."
        )
    if not known:
        raise none_known(root, [name for name, _ in given], names)
    for folder in dict.fromkeys([root, *parts]):
        _look_beside(folder, root, tally)
    return Known(known, [name for _, name in files if name not in names], [base.name for base in parts])


def pictures(folder: Path, tally: Tally) -> list[Path]:
    """The pictures anywhere below a folder of the file system, as `found` has them."""
    return [path for path in found(folder, tally) if isinstance(path, Path)]


def found(folder: Found, tally: Tally, top: Found | None = None) -> list[Found]:
    """The pictures anywhere below a folder, links followed, sorted; what else there is goes to the tally.

    Examples are named from `top`. Raises LabwrightError naming a folder that can't be read.
    """
    starts = () if isinstance(folder, Archived) else (folder.absolute(), folder.resolve())
    within = {_place(above) for start in starts for above in (start, *start.parents)}
    return sorted(_walked(folder, top or folder, tally, frozenset(within)), key=_in_order)


def folders(folder: Found) -> list[Found]:
    """The folders in a folder, sorted, without hidden ones."""
    return [path for path, kind in _entries(folder) if kind == "folder"]


def entries(folder: Found) -> list[Found]:
    """Everything in a folder, sorted."""
    return [path for path, _ in _entries(folder)]


def class_folders(base: Found) -> dict[str, Found]:
    """The folders of classes by name, in Unicode's composed form: a Mac and others then write the same name alike.

    Raises LabwrightError for two folders of one name, and for a name that is no text.
    """
    classes: dict[str, Found] = {}
    for folder in folders(base):
        name = normal(folder.name)
        if name in classes:
            raise LabwrightError(
                f"{base} has two folders called {name!r}, in different forms of Unicode: put their pictures together."
            )
        if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name):  # control, or no UTF-8
            raise LabwrightError(f"{base}: the folder {name!r} is a class whose name can't be shown: rename it.")
        classes[name] = folder
    return dict(sorted(classes.items()))


def normal(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def name_below(path: Found, folder: Found) -> str:
    """A path's name seen from a folder above it, the same on every system."""
    above = "" if str(folder) == "." else str(folder).rstrip(os.sep) + os.sep
    return normal(str(path).removeprefix(above).replace(os.sep, "/"))  # ten times as fast as relative_to


def plural(what: str, count: int) -> str:
    return what if count == 1 else f"{what}s"


def expanded(folder: Path) -> Path:
    """With the home folder in place of `~`. Raises LabwrightError where nobody is called `~NAME`."""
    try:
        return folder.expanduser()
    except RuntimeError as error:
        raise LabwrightError(f"task.data.folder: there is no home folder for {str(folder)!r}.") from error


def existing(root: Path, setting: str) -> Found:
    """A folder or a zip archive that a setting names. Raises LabwrightError if it is neither."""
    try:
        exists, packed = root.is_dir(), root.is_file()
    except OSError as error:  # a name too long, a folder above that may not be entered
        raise LabwrightError(f"{setting}: {str(root)!r} can't be read: {error.strerror}.") from error
    if packed and not zipfile.is_zipfile(root):
        raise LabwrightError(f"{setting}: {str(root)!r} is neither a folder nor a zip archive.")
    if packed:
        return archived(root)
    if not exists:
        raise LabwrightError(f"{setting}: there is no folder {located(root)}.")
    return root


def alike(names: tuple[str, ...]) -> list[str]:
    """Groups of names that differ in nothing but case and spaces, as texts."""
    same: dict[str, list[str]] = defaultdict(list)
    for name in names:
        same["".join(name.casefold().split())].append(name)
    return [" and ".join(map(repr, group)) for group in same.values() if len(group) > 1]


def inner_names(base: Found) -> list[str]:
    """Names of folders that lie in every class's folder, if no class has pictures beside them."""
    within = []
    for folder in class_folders(base).values():
        kinds = {path.name: kind for path, kind in _entries(folder)}
        if "picture" in kinds.values():
            return []
        within.append({name for name, kind in kinds.items() if kind == "folder"})
    return sorted(set[str].intersection(*within)) if within else []


def _classes(base: Found, root: Found) -> tuple[str, ...]:
    classes = class_folders(base)
    if not classes:
        raise LabwrightError(
            f"{base} has no sub-folders{_has(base)}: put the pictures of each class into one of its own."
        )
    if len(classes) == 1:
        (only,) = classes.values()
        inside = [folder.name for folder in folders(only)]
        hint = f" If {listed(inside)} in it are what is meant: task.data.folder={only}." if len(inside) > 1 else ""
        raise LabwrightError(f"{base} has one class only, {only.name!r}: there is nothing to tell apart.{hint}")
    if len({part_named(name) for name in classes} - {None}) > 1:
        raise LabwrightError(
            f"{base} has parts in it again, {listed(classes)}: task.data.folder={base} is what is meant."
        )
    for folder in classes.values():
        for inner in folders(folder):
            part = part_named(inner.name)
            if part:
                raise LabwrightError(
                    f"{inner} is called like a part, and parts stand above classes: move its pictures to "
                    f"{root / part / folder.name}, or rename it."
                )
    return tuple(classes)


def _without_train(root: Found, parts: dict[str, Found]) -> str:
    train = parts.get("train")
    if train is not None:
        return (
            f"{train} has no sub-folders{_has(train)}: put what is to be learned from there, each class in a folder of "
            f"its own. If {train.name!r} is a class and no part, rename it."
        )
    return (
        f"{root} has {listed(folder.name for folder in parts.values())}, but no folder {' or '.join(NAMES['train'])}: "
        "put what is to be learned from there, each class in a folder of its own. If it is a class and no part, rename "
        "it."
    )


def _has_classes(folder: Found, tally: Tally) -> bool:
    """Whether a part has folders of classes; pictures without them are counted, an empty part is refused."""
    if folders(folder):
        return True
    stray = found(folder, Tally())
    if not stray:
        raise LabwrightError(f"{folder} has no pictures: put some there, each class in its folder, or take it away.")
    tally.add("picture", f"in {folder.name}, which has no folders of classes", count=len(stray))
    return False


def _look_beside(folder: Found, root: Found, tally: Tally) -> None:
    """Count what lies beside folders of parts or classes."""
    for path, kind in _entries(folder):
        if kind == "picture":
            tally.add("picture", "in no class's folder", name_below(path, root))
        elif kind != "folder" and not _is_part(path):
            _leave_out(path, kind, root, tally)


def archives(root: Found) -> list[Found]:
    """The archives in a folder that are called like parts."""
    return [archived(path) for path, _ in _entries(root) if isinstance(path, Path) and _is_part(path)]


def _is_part(path: Found) -> bool:
    return isinstance(path, Path) and path.suffix.lower() == ".zip" and part_named(path.stem) is not None


def _walked(folder: Found, top: Found, tally: Tally, within: frozenset[Place]) -> Iterator[Found]:
    for path, kind in _entries(folder):
        if kind == "picture":
            yield path
        elif kind != "folder":
            _leave_out(path, kind, top, tally)
        elif isinstance(path, Path) and path.is_symlink() and _place(path) in within:
            tally.add("link", "back to a folder above it", name_below(path, top))
        else:
            yield from _walked(path, top, tally, within if isinstance(path, Archived) else within | {_place(path)})


def _leave_out(path: Found, kind: Kind, top: Found, tally: Tally) -> None:
    name = name_below(path, top)
    match kind:
        case "hidden":
            tally.add("file", "hidden", name, _count(path))
        case "broken":
            tally.add("link", "broken", name)
        case "special":
            tally.add("file", "a pipe, socket or device", name)
        case _:
            tally.other(path.name)


def _entries(folder: Found) -> list[tuple[Found, Kind]]:
    if isinstance(folder, Archived):
        return [(path, _kind_by_name(path.name, is_folder)) for path, is_folder in folder.entries()]
    try:
        with os.scandir(folder) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise LabwrightError(f"{folder} can't be read: {error.strerror}.") from error
    return [(Path(entry.path), _kind(entry)) for entry in ordered]


def _kind_by_name(name: str, is_folder: bool) -> Kind:
    if name.startswith(".") or name in _LEFTOVERS:
        return "hidden"
    if is_folder:
        return "folder"
    return "picture" if _suffix(name) in SUFFIXES else "other"


def _in_order(path: Found) -> tuple[str, ...]:
    """As paths are sorted: by their folders first."""
    return path.parts if isinstance(path, Path) else tuple(str(path).split("/"))


def _kind(entry: os.DirEntry[str]) -> Kind:
    try:
        if entry.is_dir() or entry.is_file():
            return _kind_by_name(entry.name, entry.is_dir())
        if _kind_by_name(entry.name, False) == "hidden":
            return "hidden"
        return "broken" if entry.is_symlink() else "special"
    except OSError:  # a link to itself
        return "broken"


def _suffix(name: str) -> str:
    """The suffix in small letters, with its dot; nothing if there is none."""
    before, dot, after = name.rpartition(".")
    return f".{after.lower()}" if before and dot and after else ""


def _place(folder: Path) -> Place:
    of_folder = folder.stat()
    return of_folder.st_dev, of_folder.st_ino


def _count(path: Found) -> int:
    """How many files a path is or has below it."""
    if isinstance(path, Archived):
        return path.count()
    return sum(len(files) for _, _, files in os.walk(path)) if path.is_dir() and not path.is_symlink() else 1


def _has(folder: Found) -> str:
    count = sum(kind == "picture" for _, kind in _entries(folder))
    return f" (but {count:,} {plural('picture', count)})" if count else ""
