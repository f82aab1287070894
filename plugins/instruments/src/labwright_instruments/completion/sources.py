"""The settings of a component as its source has them: it is read, and nothing is imported.

That is enough to complete a word, and takes milliseconds where an import takes seconds. What can't be seen in the
source is left out; `labwright show` knows it all.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

DEEP = 6  # steps from a name to where it is defined
GIVEN = ("self", "inputs", "outputs", "parameters")  # by the core


@dataclass(frozen=True)
class Written:
    """A setting: its type and default as they are written, what it is about, the values that are named.

    `kind` is that of a component that stands there, "" if none does.
    """

    name: str
    type: str
    default: str
    about: str
    values: tuple[str, ...] = ()
    kind: str = ""

    def line(self) -> str:
        """Type, default and what it is about."""
        usual = f", {self.default} if left out" if self.default else ""
        return f"{self.type}{usual}. {self.about}".rstrip(" .")


def settings(target: str) -> list[Written]:
    """The settings of what `package.module:Name` names; none if it can't be seen."""
    module, _, name = target.partition(":")
    return list(_settings(module, name, DEEP))


def _settings(module: str, name: str, deep: int) -> Iterator[Written]:
    found = _definition(module, name, deep)
    if found is None:
        return
    place, node = found
    if isinstance(node, ast.FunctionDef):
        yield from _of_arguments(place, node.args, _documented(node))
    elif isinstance(node, ast.ClassDef):
        own = next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)
        if own is not None:
            yield from _of_arguments(place, own.args, _documented(node) + "\n\n" + _documented(own))
            return
        of_class = list(_of_fields(place, node))
        names = {one.name for one in of_class}
        for base in node.bases:
            if deep and (named := _named(place, base)):
                yield from (one for one in _settings(*named, deep - 1) if one.name not in names)
        yield from of_class


def _of_arguments(module: str, arguments: ast.arguments, documentation: str) -> Iterator[Written]:
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults))
    pairs = zip([*plain, *arguments.kwonlyargs], [*defaults, *arguments.defaults, *arguments.kw_defaults], strict=True)
    for argument, default in pairs:
        if argument.arg not in GIVEN and argument.annotation is not None:
            yield _written(module, argument.arg, argument.annotation, default, documentation)


def _of_fields(module: str, node: ast.ClassDef) -> Iterator[Written]:
    """The fields of a dataclass."""
    if not any("dataclass" in ast.unparse(one) for one in node.decorator_list):
        return
    for one in node.body:
        name = one.target.id if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name) else "_"
        if isinstance(one, ast.AnnAssign) and name not in (*GIVEN, "_") and "ClassVar" not in _source(one):
            yield _written(module, name, one.annotation, one.value, _documented(node))


def _written(module: str, name: str, annotation: ast.expr, default: ast.expr | None, documentation: str) -> Written:
    hint = _whole(module, annotation)
    values: list[str] = []
    kind, limits = "", list[str]()
    for node in ast.walk(hint):
        called = _last(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.Subscript) and _last(node.value) == "Literal":
            values += [_toml(one) for one in ast.walk(node.slice) if isinstance(one, ast.Constant)]
        elif isinstance(node, ast.Name) and node.id == "bool":
            values += ["true", "false"]
        elif isinstance(node, ast.Call) and called == "Choice":
            values += [_toml(one) for one in node.args if isinstance(one, ast.Constant)]
        elif isinstance(node, ast.Call) and called == "Part" and isinstance(node.args[0], ast.Constant):
            kind = str(node.args[0].value)
        elif isinstance(node, ast.Call) and called == "Field":
            signs = {"ge": ">=", "gt": ">", "le": "<=", "lt": "<"}
            limits += [f"{signs[one.arg]} {ast.unparse(one.value)}" for one in node.keywords if one.arg in signs]
    words = f"a {kind}" if kind else " ".join([_type(hint), ", ".join(limits)]).strip()
    default_ = "" if default is None or _source(default) == "None" else _toml(default)
    return Written(name, words, default_, about(name, documentation), tuple(dict.fromkeys(values)), kind)


def about(name: str, documentation: str) -> str:
    """What a docstring says of a setting: its entry under `Args:`, else the first sentence that names it."""
    entry = re.search(rf"^( +){name}(?: \(.*?\))?: (.+(?:\n\1 +.+)*)", documentation, re.MULTILINE)
    if entry:
        return " ".join(entry[2].split())
    sentences = re.split(r"(?<=[.;])\s+", documentation.partition("Args:")[0])
    naming = [" ".join(one.split()) for one in sentences if f"`{name}`" in one and not one.startswith("Raises ")]
    return min(naming, key=lambda one: not one.startswith(f"`{name}`"), default="")


def _type(node: ast.expr) -> str:
    """A type in the words of `labwright show`: without what Annotated adds to it, and without None."""
    if isinstance(node, ast.BinOp):
        return " | ".join(filter(None, (_type(node.left), _type(node.right))))
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if _last(node.value) == "Annotated":
            return _type(inner[0])
        if _last(node.value) == "Literal":
            return " | ".join(map(_toml, inner))
        return f"{_last(node.value)}[{', '.join(map(_type, inner))}]"
    if isinstance(node, ast.Constant):
        return str(node.value or "")  # None, or a name in quotes
    return _last(node) or ast.unparse(node)


def _whole(module: str, annotation: ast.expr) -> ast.expr:
    """An annotation; where it, or what it annotates, is a name for another, that one."""
    if isinstance(annotation, ast.Subscript) and isinstance(annotation.slice, ast.Tuple):
        if _last(annotation.value) != "Annotated":
            return annotation
        first, *marks = annotation.slice.elts
        within = ast.Tuple([_whole(module, first), *marks], ast.Load())
        return ast.Subscript(annotation.value, within, ast.Load())
    name = annotation.id if isinstance(annotation, ast.Name) else ""
    found = _definition(module, name, DEEP) if name else None
    return found[1] if found and isinstance(found[1], ast.expr) else annotation


def _definition(module: str, name: str, deep: int) -> tuple[str, ast.AST] | None:
    """Where a name is defined, and the class, function or value that it stands for."""
    for node in _tree(module).body if deep else ():
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return module, node
        if isinstance(node, ast.ImportFrom):
            for one in node.names:
                if (one.asname or one.name) == name:
                    return _definition(_absolute(module, node), one.name, deep - 1)
        if isinstance(node, ast.Assign) and any(isinstance(one, ast.Name) and one.id == name for one in node.targets):
            again = _named(module, node.value)
            return (again and _definition(*again, deep - 1)) or (module, node.value)
    return None


def _named(module: str, node: ast.expr) -> tuple[str, str] | None:
    """The module and the name that an expression names: `Name`, or `lw.Name`."""
    if isinstance(node, ast.Name):
        return module, node.id
    if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
        imported = [one for each in _tree(module).body if isinstance(each, ast.Import) for one in each.names]
        return next(((one.name, node.attr) for one in imported if (one.asname or one.name) == node.value.id), None)
    return None


def _absolute(module: str, node: ast.ImportFrom) -> str:
    parts = module.split(".")
    package = parts if _file(module).name.startswith("__init__") else parts[:-1]
    above = package[: len(package) - node.level + 1] if node.level else []
    return ".".join([*above, *filter(None, [node.module])])


def declared(file: Path) -> Iterator[tuple[str, str, str, str]]:
    """Kind, name, target and summary of each component that a plugin's file declares in plain words."""
    for node in ast.walk(_tree(str(file))):
        if isinstance(node, ast.Call) and _last(node.func) == "Component":
            given = [*node.args, *(one.value for one in node.keywords)]
            texts = [str(one.value) for one in given if isinstance(one, ast.Constant)]
            if len(texts) == len(given) == 4 and ":" in texts[2]:
                kind, name, target, summary = texts
                module, _, what = target.partition(":")
                beside = file.parent / f"{module}.py"
                yield kind, name, f"{beside}:{what}" if beside.is_file() else target, summary


@cache
def _tree(module: str) -> ast.Module:
    try:
        return ast.parse(_file(module).read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError, ImportError):
        return ast.Module([], [])


def _file(module: str) -> Path:
    """The file of a module; the package it lies in is found, none is imported. A stub goes before a package's own."""
    if module.endswith(".py"):  # of a plugin that is a file
        return Path(module)
    top, *rest = module.split(".")
    spec = find_spec(top)
    folders = (spec.submodule_search_locations if spec else None) or ()
    for folder in folders:
        path = Path(folder, *rest)
        for file in (path / "__init__.pyi", path / "__init__.py", path.parent / f"{path.name}.py"):
            if file.is_file():
                return file
    return Path(spec.origin) if spec and spec.origin and not rest else Path()


def _documented(node: ast.ClassDef | ast.FunctionDef) -> str:
    return ast.get_docstring(node) or ""


def _source(node: ast.AST) -> str:
    return ast.unparse(node)


def _last(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _toml(node: ast.expr) -> str:
    """A value as a recipe or an override has it."""
    value = node.value if isinstance(node, ast.Constant) else None
    return str(value).lower() if isinstance(value, bool) else value if isinstance(value, str) else ast.unparse(node)
