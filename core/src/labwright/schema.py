"""JSON Schema of a recipe, for the components that are installed: editors complete and check with it."""

from __future__ import annotations

from typing import Any

from labwright.config import signature
from labwright.errors import LabwrightError
from labwright.experiment import Train
from labwright.plugins import Plugins


def recipe_schema(plugins: Plugins) -> dict[str, Any]:
    """A schema of draft 2020-12. Components that can't be loaded are left out; verbs name them."""
    definitions: dict[str, Any] = {}
    for kind in ("task", "data", "model", "loss", "optimizer", "device", "logger", "stop"):
        options: list[Any] = []
        for name in plugins.names(kind):
            try:
                options += _component(plugins, kind, name)
            except LabwrightError:
                continue
        definitions[kind] = {"anyOf": options} if options else False
    properties = {kind: _ref(kind) for kind in ("task", "model", "loss", "device")}
    properties["optimizer"] = {
        "anyOf": [_ref("optimizer"), {"type": "object"}]
    }  # tables of phases are named by the task
    properties["train"] = _table(Train)
    properties |= {"log": {"type": "array", "items": _ref("logger")}, "stop": {"type": "array", "items": _ref("stop")}}
    properties["search"] = {"type": "object"}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "labwright recipe",
        "type": "object",
        "properties": properties,
        "required": ["task", "model"],
        "additionalProperties": False,
        "$defs": definitions,
    }


def _component(plugins: Plugins, kind: str, name: str) -> list[Any]:
    summary = plugins.find(kind, name).summary
    if name.endswith("/*"):
        pattern = "^" + name[:-1] + "[A-Za-z0-9_.-]+$"
        named: dict[str, Any] = {"type": "string", "pattern": pattern, "description": summary}
        return [named, {"type": "object", "properties": {"name": named}, "required": ["name"]}]
    table = _table(plugins.load(kind, name))
    table["properties"] = {"name": {"const": name}} | table["properties"]
    table["required"] = ["name", *table["required"]]
    table["description"] = summary
    alone = [{"const": name, "description": summary}] if table["required"] == ["name"] else []
    return [*alone, table]


def _table(target: Any) -> dict[str, Any]:
    properties, required = {}, []
    for key, setting in signature(target).settings.items():
        if setting.part:
            properties[key] = _ref(setting.part.kind)
        else:
            properties[key] = _without_null(setting.adapter.json_schema())
            if setting.default is not None and not setting.required:
                properties[key]["default"] = setting.written(setting.default)
            if setting.mark:
                properties[key]["description"] = f"searched: {setting.mark}"
        if setting.required:
            required.append(key)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _ref(kind: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{kind}"}


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """None is the field left out, so that no value of a recipe is null."""
    options = [one for one in schema.get("anyOf", []) if one != {"type": "null"}]
    rest = {key: one for key, one in schema.items() if key not in ("anyOf", "default")}
    if not options:
        return rest
    return rest | (options[0] if len(options) == 1 else {"anyOf": options})
