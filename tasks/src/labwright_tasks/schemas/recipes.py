"""JSON Schema of a recipe, for the components that are installed: editors complete and check with it.

What a table may say is asked for by `if` its name is this one, and not by `anyOf`: editors then mark the one key that
is wrong, where of alternatives they can only say that none of them fits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from labwright import Family, LabwrightError, Plugins, Setting, Start, Train, signature
from pydantic.json_schema import GenerateJsonSchema, NoDefault

_Named = tuple[dict[str, Any], dict[str, Any]]  # the schema of a name, and of the table that has it
_NONE = {"const": ""}  # of what a recipe is laid on, this is left out
_TABLE = {"type": "object", "additionalProperties": True}
_NAMED = {"required": ["name"], "additionalProperties": True}
_NAME_OR_TABLE = {"type": ["object", "string"]}
_ANY = {"type": ["object", "string", "array"], "additionalProperties": True}  # first, so that no other is tried


def recipe_schema(plugins: Plugins) -> dict[str, Any]:
    """A schema of draft 2020-12. Components that can't be loaded are left out; verbs name them."""
    made = _Schema(plugins)
    for kind in plugins.kinds:
        tables = [table for name in plugins.names(kind) for table in made.component(kind, name)]
        made.definitions[kind] = made.by_name(kind, tables) if tables else False
    train = made.table(Train)
    properties = {
        **{kind: _ref(kind) for kind in ("task", "model", "loss", "optimizer")},
        "method": made.part("method", "descent"),
        "device": made.part("device", "auto"),
        "train": train,
        "start": _NAME_OR_TABLE | _if(_TABLE, made.table(Start)),
        "log": {"type": "array", "items": _ref("logger")},
        "stop": {"type": "array", "items": _ref("stop")},
        "search": {"type": "object"},
    }
    # what is laid on another recipe says a part of it, and only that one knows of which component
    parts = {key: _or(_NAME_OR_TABLE, one) for key, one in properties.items()}
    parts |= {key: _or(properties[key], _NONE) for key in ("log", "stop")}
    parts["train"] = _NAME_OR_TABLE | _if(_TABLE, _changes(train), _NONE)
    made.definitions["variant"] = {"type": "object", "properties": parts} | _no_other("recipe", parts)
    of_file = {
        "base": _or({"enum": plugins.names("recipe")}, {"type": "string", "pattern": r"\.toml$"}),
        "variants": {"type": "object", "additionalProperties": _ref("variant") | {"minProperties": 1}},
    }
    lengths = [{"required": [length], "additionalProperties": True} for length in ("epochs", "steps")]
    descends = [{"required": [part], "additionalProperties": True} for part in ("loss", "optimizer")]
    of_descent = {"properties": {"train": {"oneOf": lengths}}, "additionalProperties": True}
    whole = {"properties": properties, "additionalProperties": True, "required": ["task", "model", "train"]}
    whole |= _if(_or(*descends), of_descent)  # not so for a model in closed form
    of_parts = {"properties": parts, "additionalProperties": True}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "labwright recipe",
        "type": "object",
        "properties": {key: _or(_ANY, one) for key, one in properties.items()} | of_file,
        **_no_other("recipe", [*parts, *of_file]),
        **_if({"required": ["base"], "additionalProperties": True}, of_parts, whole),
        "$defs": made.definitions,
    }


class _Generator(GenerateJsonSchema):
    """Pydantic's, without null: None is the field left out, so that no value of a recipe is null."""

    def nullable_schema(self, schema: Any) -> Any:
        return self.generate_inner(schema["schema"])

    def get_default_value(self, schema: Any) -> Any:
        default = super().get_default_value(schema)
        return NoDefault if default is None else default

    def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Any:  # noqa: ARG002 - it has no words for it
        return {}


class _Schema:
    """Schemas of components and of their settings; what several refer to gathers in `definitions`."""

    def __init__(self, plugins: Plugins) -> None:
        self.plugins = plugins
        self.definitions: dict[str, Any] = {}

    def component(self, kind: str, name: str) -> list[_Named]:
        """What a table may say for a component or for a family's members; nothing if it can't be loaded."""
        try:
            component = self.plugins.find(kind, name)
            return [
                (named, self._named(kind, named | {"description": component.summary}, target))
                for named, target in _members(name, self.plugins.target(component))
            ]
        except LabwrightError:
            return []

    def by_name(self, kind: str, tables: list[_Named]) -> dict[str, Any]:
        """A name alone, unless a setting is needed, or a table whose name says what else it has.

        Alternatives that refuse nothing stand beside it, by which editors complete.
        """
        places = []
        for named, table in tables:
            # with nothing that a reference would have to escape
            key = re.sub(r"[^\w.-]+", ":", f"{kind}:{named.get('const', named.get('pattern'))}").strip(":")
            self.definitions[key] = table
            places.append(_ref(key))
        name = _one_of(named for named, _ in tables)
        of_table = {"properties": {"name": name}, "additionalProperties": True, "required": ["name"]}
        cases = [
            _if({"properties": {"name": named}, **_NAMED}, place)
            for (named, _), place in zip(tables, places, strict=True)
        ]
        names = [named for named, table in tables if table["required"] == ["name"]]
        alone = _one_of(names) if names else {"type": "object"}
        return _or(_TABLE, alone, *places) | _if(_TABLE, {"allOf": [of_table, *cases]}, alone)

    def part(self, kind: str, default: Any) -> dict[str, Any]:
        """A component, or settings of the default one without its name."""
        # no default, so that a table without a name says nothing
        if not isinstance(default, str):
            return _ref(kind)
        whole = _if(_NAMED, _ref(kind), self.table(self.plugins.load(kind, default)))
        return _or(_ANY, _ref(kind)) | _if(_TABLE, whole, _ref(kind))

    def _parts(self, setting: Setting) -> dict[str, Any]:
        assert setting.part is not None
        schema = self.part(setting.part.kind, setting.default)
        for several in reversed(setting.several):
            schema = (
                {"type": "array", "items": schema}
                if several is list
                else {"type": "object", "additionalProperties": schema}
            )
        return schema

    def table(self, target: Any) -> dict[str, Any]:
        """The settings of a constructor."""
        settings, label = signature(target).settings, f"{target.__module__}.{target.__qualname__}"
        properties = {
            key: self._parts(one) if one.part else self._setting(one, f"{label}.{key}.")
            for key, one in settings.items()
        }
        required = [key for key, one in settings.items() if one.required]
        return {"type": "object", "properties": properties, "required": required} | _no_other("table", settings)

    def _named(self, kind: str, name: dict[str, Any], target: Any) -> dict[str, Any]:
        """A table with the name."""
        table = self.table(target)
        whole = table | {"properties": {"name": name} | table["properties"], "required": ["name", *table["required"]]}
        whole |= {"description": name["description"], **_no_other(name.get("const", kind), whole["properties"])}
        # a table of a phase, which only the task can name: its own optimizer, or other settings
        if kind == "optimizer":
            of_phase = _if(_NAMED, _ref(kind), table | {"required": []})
            other = _if({"type": "string"}, _ref(kind), whole["additionalProperties"])
            return whole | {"additionalProperties": _NAME_OR_TABLE | _if(_TABLE, of_phase, other)}
        # some editors read no further than draft 7, and these words are better: of what is no name of a property
        return whole | {"dependentSchemas": {"name": {"propertyNames": {"enum": list(whole["properties"])}}}}

    def _setting(self, setting: Setting, prefix: str) -> dict[str, Any]:
        template = f"#/$defs/{prefix}{{model}}"
        schema = setting.adapter.json_schema(ref_template=template, schema_generator=_Generator)
        # under names of their own, as two classes may define the same
        self.definitions |= {prefix + name: _named_keys(one) for name, one in schema.pop("$defs", {}).items()}
        if setting.default is not None and not setting.required:
            schema["default"] = setting.written(setting.default)
        said = [setting.description, f"searched: {setting.mark}" if setting.mark else ""]
        return dict(schema) | ({"description": " ".join(filter(None, said))} if any(said) else {})


def _members(name: str, target: Any) -> Iterator[tuple[dict[str, Any], Any]]:
    """The schema of a component's name with its class, for each member of a family."""
    if isinstance(target, Family):
        yield target.schema_of_names(), target.member
    elif name.endswith("/*"):
        yield from (({"const": name[:-1] + member}, one) for member, one in target.items())
    else:
        yield {"const": name}, target


def _one_of(names: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """Names, those of a library's family by a pattern."""
    names = list(names)
    known = {"enum": [one["const"] for one in names if "const" in one]}
    families = [one for one in names if "const" not in one]
    return _or(known, *families) if families else known


def _changes(table: dict[str, Any]) -> dict[str, Any]:
    """Some of the settings of a table, which may be left out by an empty text."""
    return table | {"properties": {key: _or(one, _NONE) for key, one in table["properties"].items()}, "required": []}


def _no_other(owner: str, keys: Iterable[str]) -> dict[str, Any]:
    """Refuses other keys, each at its own place: `false` would be said of the table, and without what it has."""
    return {"additionalProperties": {"not": {"description": f"no such key: {owner} has {', '.join(keys)}"}}}


def _named_keys(schema: dict[str, Any]) -> dict[str, Any]:
    """A table that Pydantic describes, whose other keys are refused as ours are."""
    closed = schema.get("additionalProperties") is False
    return schema | (_no_other("table", schema["properties"]) if closed and "properties" in schema else {})


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _or(*schemas: Any) -> dict[str, Any]:
    return {"anyOf": list(schemas)}


def _if(condition: Any, then: Any, otherwise: Any = True) -> dict[str, Any]:
    return {"if": condition, "then": then} | ({} if otherwise is True else {"else": otherwise})
