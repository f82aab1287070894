"""JSON Schema of a recipe, for the components that are installed: editors complete and check with it."""

from __future__ import annotations

from typing import Any

from pydantic.errors import PydanticInvalidForJsonSchema

from labwright.builtin.library import Family, LibraryOptimizer
from labwright.config import signature
from labwright.errors import LabwrightError
from labwright.experiment import Train
from labwright.hookspecs import KINDS
from labwright.plugins import Plugins
from labwright.signature import Setting, label_of


def recipe_schema(plugins: Plugins) -> dict[str, Any]:
    """A schema of draft 2020-12. Components that can't be loaded are left out; verbs name them."""
    definitions: dict[str, Any] = {}
    for kind in KINDS:
        options = [option for name in plugins.names(kind) for option in _options(plugins, kind, name, definitions)]
        definitions[kind] = {"anyOf": options} if options else False
    length = {"oneOf": [{"required": ["epochs"]}, {"required": ["steps"]}]}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "labwright recipe",
        "type": "object",
        "properties": {
            **{kind: _ref(kind) for kind in ("task", "model", "loss", "optimizer", "device")},
            "train": _table(Train, definitions) | length,
            "log": {"type": "array", "items": _ref("logger")},
            "stop": {"type": "array", "items": _ref("stop")},
            "search": {"type": "object"},
        },
        "required": ["task", "model", "train"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _options(plugins: Plugins, kind: str, name: str, definitions: dict[str, Any]) -> list[Any]:
    """What a recipe may say for a component: its name alone, unless it needs a setting, or a table."""
    try:
        component = plugins.find(kind, name)
        target = plugins.target(component)
        if isinstance(target, Family):  # its names are known to its library alone, which may take seconds to import
            return _named(kind, {"pattern": f"^{name[:-1]}[^/]+$"}, component.summary, LibraryOptimizer, definitions)
        members = {name[:-1] + one: target[one] for one in target} if name.endswith("/*") else {name: target}
        return [
            option
            for member, one in members.items()
            for option in _named(kind, {"const": member}, component.summary, one, definitions)
        ]
    except LabwrightError:
        return []


def _named(kind: str, name: dict[str, Any], summary: str, target: Any, definitions: dict[str, Any]) -> list[Any]:
    table = _table(target, definitions)
    name = {"type": "string", "description": summary} | name
    whole = table | {
        "description": summary,
        "properties": {"name": name} | table["properties"],
        "required": ["name", *table["required"]],
    }
    if kind == "optimizer":  # a table of a phase, which only the task can name: its own optimizer, or other settings
        whole["additionalProperties"] = {"anyOf": [_ref("optimizer"), table | {"required": []}]}
    return [whole] if table["required"] else [name, whole]


def _table(target: Any, definitions: dict[str, Any]) -> dict[str, Any]:
    settings = signature(target).settings
    properties = {
        key: _ref(one.part.kind) if one.part else _setting(one, f"{label_of(target)}.{key}.", definitions)
        for key, one in settings.items()
    }
    required = [key for key, one in settings.items() if one.required]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _setting(setting: Setting, prefix: str, definitions: dict[str, Any]) -> dict[str, Any]:
    try:
        schema: dict[str, Any] = _without_null(setting.adapter.json_schema(ref_template=f"#/$defs/{prefix}{{model}}"))
    except PydanticInvalidForJsonSchema:  # a type that JSON Schema has no words for
        schema = {}
    definitions |= {prefix + name: one for name, one in schema.pop("$defs", {}).items()}
    if setting.default is not None and not setting.required:
        schema["default"] = setting.written(setting.default)
    return schema | ({"description": f"searched: {setting.mark}"} if setting.mark else {})


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}


def _without_null(schema: Any) -> Any:
    """None is the field left out, so that no value of a recipe is null."""
    if isinstance(schema, list):
        return [_without_null(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    rest = {
        key: _without_null(one) for key, one in schema.items() if key != "anyOf" and (key, one) != ("default", None)
    }
    options = [_without_null(one) for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    return rest | (options[0] if len(options) == 1 else {"anyOf": options} if options else {})
