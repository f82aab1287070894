"""JSON Schema of a recipe, for the components that are installed: editors complete and check with it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from labwright import Family, LabwrightError, Plugins, Setting, Start, Train, signature
from pydantic.json_schema import GenerateJsonSchema, NoDefault

_NONE = {"const": ""}  # of what a recipe is laid on, this is left out


def recipe_schema(plugins: Plugins) -> dict[str, Any]:
    """A schema of draft 2020-12. Components that can't be loaded are left out; verbs name them."""
    made = _Schema(plugins)
    for kind in plugins.kinds:
        options = [option for name in plugins.names(kind) for option in made.component(kind, name)]
        made.definitions[kind] = {"anyOf": options} if options else False
    lengths = [{"required": ["epochs"]}, {"required": ["steps"]}]
    properties = {
        **{kind: _ref(kind) for kind in ("task", "model", "loss", "optimizer")},
        "method": made.part("method", "descent"),
        "device": made.part("device", "auto"),
        "train": made.table(Train),
        "start": {"anyOf": [{"type": "string"}, made.table(Start)]},
        "log": {"type": "array", "items": _ref("logger")},
        "stop": {"type": "array", "items": _ref("stop")},
        "search": {"type": "object"},
    }
    # what is laid on another recipe says a part of it, and only that one knows of which component
    parts = {key: _or(one, {"type": ["object", "string"]}) for key, one in properties.items()}
    parts |= {key: _or(properties[key], _NONE) for key in ("log", "stop")} | {"train": _or(made.changes(Train), _NONE)}
    made.definitions["variant"] = {"type": "object", "properties": parts, "additionalProperties": False}
    of_file = {
        "base": _or({"enum": plugins.names("recipe")}, {"type": "string", "pattern": r"\.toml$"}),
        "variants": {"type": "object", "additionalProperties": _ref("variant") | {"minProperties": 1}},
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "labwright recipe",
        "type": "object",
        "properties": parts | of_file,
        "additionalProperties": False,
        "if": {"required": ["base"]},
        "else": {
            "properties": properties,
            "required": ["task", "model", "train"],
            "if": {"anyOf": [{"required": ["loss"]}, {"required": ["optimizer"]}]},  # not so for a model in closed form
            "then": {"properties": {"train": {"oneOf": lengths}}},
        },
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

    def component(self, kind: str, name: str) -> list[Any]:
        """What a recipe may say for a component or for a family's members; nothing if it can't be loaded."""
        try:
            component = self.plugins.find(kind, name)
            return [
                option
                for named, target in _members(name, self.plugins.target(component))
                for option in self._named(kind, named | {"description": component.summary}, target)
            ]
        except LabwrightError:
            return []

    def part(self, kind: str, default: Any) -> dict[str, Any]:
        """A component, or settings of the default one without its name."""
        # no default, so that a table without a name says nothing
        if not isinstance(default, str):
            return _ref(kind)
        return {"anyOf": [_ref(kind), self.table(self.plugins.load(kind, default))]}

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
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def changes(self, target: Any) -> dict[str, Any]:
        """Some of the settings of a constructor, which may be left out by an empty text."""
        table = self.table(target)
        properties = {key: _or(one, _NONE) for key, one in table["properties"].items()}
        return table | {"properties": properties, "required": []}

    def _named(self, kind: str, name: dict[str, Any], target: Any) -> list[Any]:
        """The name alone, unless a setting is needed, and a table with the name."""
        table = self.table(target)
        whole = table | {"properties": {"name": name} | table["properties"], "required": ["name", *table["required"]]}
        whole["description"] = name["description"]
        # a table of a phase, which only the task can name: its own optimizer, or other settings
        if kind == "optimizer":
            whole["additionalProperties"] = {"anyOf": [_ref("optimizer"), table | {"required": []}]}
        return [whole] if table["required"] else [name, whole]

    def _setting(self, setting: Setting, prefix: str) -> dict[str, Any]:
        template = f"#/$defs/{prefix}{{model}}"
        schema = setting.adapter.json_schema(ref_template=template, schema_generator=_Generator)
        # under names of their own, as two classes may define the same
        self.definitions |= {prefix + name: one for name, one in schema.pop("$defs", {}).items()}
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


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


def _or(*schemas: Any) -> dict[str, Any]:
    return {"anyOf": list(schemas)}
