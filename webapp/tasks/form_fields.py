"""What the form of a kind asks, out of the JSON Schema of its parameters. Knows no Flask."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from webapp.tasks.kinds import TaskKind

if TYPE_CHECKING:
    from webapp.core.context import Ctx

Schema = dict[str, Any]
Raw = dict[str, Any]
Given = Mapping[str, list[str]]  # a submitted form: name -> its values
Errors = dict[str, list[str]]

MAX_ROWS = 100  # of a group that repeats
MAX_DEPTH = 3  # groups in groups; what lies deeper is written as JSON
LONG = 300  # characters from which a text gets several lines
LONG_NAMES = ("content", "text", "prompt", "description", "body", "instructions", "template")
FRAME = frozenset({"kind", "title", "priority", "source", "file", "csrf_token", "do", "to", "from", "notify", "when", "at",
                   "repeat", "time", "cron", "schedule", "wish"})  # fmt: skip
LABELS = {"urls": "Links", "url": "Link", "upload_ids": "Files", "upload_id": "File"}
PANES = {"text": ("content", "text", "data", "values"), "urls": ("urls", "url", "data_url", "source_url"),
         "file": ("upload_ids", "upload_id")}  # fmt: skip
RARE = ("engine", "collection_id")  # among the further options unless their model says otherwise
ONE_LINE = ("text", "url", "date", "datetime-local", "number")
SEVERAL_LINES = ("textarea", "lines", "words", "pairs", "json")
YES = ("1", "on", "true", "yes")


@dataclass(frozen=True)
class Choices:
    """What another area has for a field of this name, such as a person's collections. Registered by the application.

    of: (value, label) of each that the caller may name. none: said where there is nothing to choose from.
    """

    of: Callable[[Ctx], list[tuple[str, str]]]
    none: str = ""


@dataclass(frozen=True)
class Field:
    """One thing a form asks.

    control: text, url, date, datetime-local, number, textarea, checkbox, select, choices (several of a few), lines (a
      list, one per line), words (the same, parted by white space), pairs (`name: value` lines), json, upload, hidden, group, rows.
    key: its place in the form, for a row's fields within the row. attrs: HTML attributes that the browser checks.
    """

    name: str
    control: str
    label: str
    key: str = ""
    hint: str = ""
    required: bool = False
    default: Any = None
    placeholder: str = ""
    options: tuple[tuple[str, str], ...] = ()
    attrs: dict[str, Any] = field(default_factory=dict)
    numeric: bool = False  # its value, or each of its list, is a number
    single: bool = False  # an upload that takes one file, and gives a string
    accept: str = ""
    fields: tuple[Field, ...] = ()
    tag: str = ""  # rows of several kinds: the field that says which
    variants: dict[str, tuple[Field, ...]] = field(default_factory=dict)
    least: int = 0
    most: int = MAX_ROWS
    advanced: bool = False
    pane: str = ""

    @property
    def is_optional(self) -> bool:
        """Whether a form says so: it may stay empty, and is empty to begin with."""
        return not self.required and not self.pane and self.default in (None, "", [], {})

    @property
    def is_nested(self) -> bool:
        return self.control in ("group", "rows")

    def of(self, raw: Raw) -> tuple[Field, ...]:
        """The fields of this row or group, which may follow what its `tag` says."""
        if not self.variants:
            return self.fields
        chosen = raw.get(self.tag)
        return self.variants.get(chosen if isinstance(chosen, str) else "", next(iter(self.variants.values())))


# -- out of the database -----------------------------------------------------------------------------------------------


def with_choices(fields: tuple[Field, ...], registered: Mapping[str, Choices], ctx: Ctx) -> tuple[Field, ...]:
    """The same, where a text that names one of a person's things is a choice among them. What it means stays the same."""
    return tuple(_chosen(one, registered[one.name], ctx) if one.name in registered and one.control == "text" else one
                 for one in fields)  # fmt: skip


def _chosen(one: Field, choices: Choices, ctx: Ctx) -> Field:
    options = tuple(choices.of(ctx))
    attrs = {"required": ""} if one.required else {}
    hint = one.hint if options or not one.required else choices.none
    return replace(one, control="select", options=options, attrs=attrs, hint=hint)


# -- out of a schema -------------------------------------------------------------------------------------------------


def fields_of(kind: TaskKind) -> tuple[Field, ...]:
    """What the form of this kind asks: what is a must first, else in the order its model declares."""
    schema = kind.schema()
    example = kind.examples[0] if kind.examples and isinstance(kind.examples[0], dict) else {}
    found = _properties(schema, schema.get("$defs", {}), 0, example)
    return _in_panes(tuple(sorted(found, key=lambda one: not one.required)))


def _properties(schema: Schema, defs: Schema, depth: int, example: Schema) -> tuple[Field, ...]:
    needed = set(schema.get("required", ()))
    found = []
    for name, one in schema.get("properties", {}).items():
        made = _field(name, one, defs, depth, name in needed, example.get(name))
        key = f"param.{name}" if not depth and name in FRAME else name
        found.append(replace(made, key=key))
    return tuple(found)


def _field(name: str, given: Schema, defs: Schema, depth: int, required: bool, example: Any) -> Field:
    schema, nullable = _plain(given, defs)
    extra = {**schema, **{key: value for key, value in given.items() if key not in ("$ref", "anyOf", "allOf", "oneOf")}}
    base = Field(
        name=name, control="json", label=_label(name, given.get("title") or ""), hint=str(given.get("description") or ""),
        required=required and not nullable, default=given.get("default"),
        advanced=bool(extra.get("advanced", name in RARE and not required)),
        placeholder=_placeholder(extra.get("examples"), example),
    )  # fmt: skip
    made = _controlled(base, extra, defs, depth, str(extra.get("widget") or ""))
    # Not inside groups: an empty row is one that was offered, and the browser must let it pass.
    if made.required and not depth and made.control in (*ONE_LINE, *SEVERAL_LINES, "select"):
        made.attrs["required"] = ""
    return replace(made, placeholder="") if made.default else made


def _plain(schema: Schema, defs: Schema) -> tuple[dict[str, Any], bool]:
    """The schema without references and without its `null`; and whether it had one."""
    seen = 0
    while "$ref" in schema and seen < 10:
        schema, seen = defs.get(schema["$ref"].rsplit("/", 1)[-1], {}), seen + 1
    if len(schema.get("allOf", ())) == 1:
        return _plain(schema["allOf"][0], defs)
    choices = schema.get("anyOf")
    if not choices:
        return schema, False
    real = [one for one in choices if one.get("type") != "null"]
    if len(real) == 1:
        inner, _ = _plain(real[0], defs)
        return inner, len(real) < len(choices)
    return {"union": [_plain(one, defs)[0] for one in real]}, len(real) < len(choices)


def _controlled(base: Field, schema: Schema, defs: Schema, depth: int, widget: str) -> Field:
    kind = schema.get("type")
    if widget == "hidden":
        return replace(base, control="hidden")
    if widget == "json":
        return replace(base, control="json")
    if widget == "upload" or base.name in PANES["file"]:
        accept = schema.get("accept") or ""
        text = accept if isinstance(accept, str) else ",".join(accept)
        return replace(base, control="upload", single=kind != "array", accept=text)
    if "const" in schema:
        return replace(base, control="hidden", default=schema["const"])
    if "enum" in schema:
        return replace(base, control="select", options=_options(schema), numeric=kind in ("integer", "number"))
    if widget == "textarea":
        return replace(base, control="textarea", attrs=_text_attrs(schema))
    if "union" in schema:
        return _of_union(base, schema, defs, depth)
    if kind == "boolean":
        return replace(base, control="checkbox")
    if kind in ("integer", "number"):
        return replace(base, control="number", numeric=True, attrs=_number_attrs(schema, kind))
    if kind == "string":
        return _of_text(base, schema)
    if kind == "array":
        return _of_list(base, schema, defs, depth, widget)
    if kind == "object":
        return _of_object(base, schema, defs, depth)
    return base


def _of_union(base: Field, schema: Schema, defs: Schema, depth: int) -> Field:
    """Of a text or a list of texts the list; of a number or a text the text; anything else as JSON."""
    types = {one.get("type") for one in schema["union"]}
    if types == {"integer", "number"}:
        return replace(base, control="number", numeric=True, attrs={"step": "any"})
    if types <= {"string", "integer", "number"}:
        return _of_text(base, next(one for one in schema["union"] if one.get("type") == "string"))
    if types == {"string", "array"}:
        made = _of_list(base, next(one for one in schema["union"] if one["type"] == "array"), defs, depth, "")
        return made if made.control == "lines" else base
    return base


def _of_text(base: Field, schema: Schema) -> Field:
    attrs = _text_attrs(schema)
    by_format = {"uri": "url", "date": "date", "date-time": "datetime-local"}.get(schema.get("format", ""))
    if by_format:
        return replace(base, control=by_format, attrs=attrs)
    longest = schema.get("maxLength")
    is_long = base.name not in PANES["urls"] and (longest > LONG if longest else base.name in LONG_NAMES)
    return replace(base, control="textarea" if is_long else "text", attrs=attrs)


def _of_list(base: Field, schema: Schema, defs: Schema, depth: int, widget: str) -> Field:
    item, _ = _plain(schema.get("items") or {}, defs)
    least = schema.get("minItems", 0)
    most = min(schema.get("maxItems") or MAX_ROWS, MAX_ROWS)
    if "enum" in item:
        return replace(base, control="choices", options=_options(item), least=least, most=most)
    if item.get("type") in ("string", "integer", "number"):
        words = widget == "url-list" or base.name == "urls"
        return replace(base, control="words" if words else "lines", numeric=item["type"] != "string", least=least,
                       most=schema.get("maxItems") or 0)  # fmt: skip
    if depth >= MAX_DEPTH:
        return base
    if item.get("oneOf") and item.get("discriminator"):
        return _of_variants(base, item, defs, depth, least, most)
    if item.get("type") == "object" and item.get("properties"):
        return replace(base, control="rows", fields=_properties(item, defs, depth + 1, {}), least=least, most=most)
    return base


def _of_variants(base: Field, item: Schema, defs: Schema, depth: int, least: int, most: int) -> Field:
    """Rows of several kinds, told apart by one field of theirs."""
    tag = item["discriminator"]["propertyName"]
    variants, options = {}, []
    for one in item["oneOf"]:
        schema, _ = _plain(one, defs)
        own = schema.get("properties", {}).get(tag, {})
        label = str(schema.get("label") or "")
        for value in own.get("enum") or [own.get("const")]:
            variants[str(value)] = tuple(f for f in _properties(schema, defs, depth + 1, {}) if f.name != tag)
            options.append((str(value), label or _words(str(value))))
    first, _ = _plain(item["oneOf"][0], defs)
    label = _label(tag, (first.get("properties", {}).get(tag) or {}).get("title") or "")
    chooser = Field(tag, "select", label, key=tag, required=True, options=tuple(options))
    return replace(base, control="rows", tag=tag, fields=(chooser,), variants=variants, least=least, most=most)


def _of_object(base: Field, schema: Schema, defs: Schema, depth: int) -> Field:
    if schema.get("properties") and depth < MAX_DEPTH:
        return replace(base, control="group", fields=_properties(schema, defs, depth + 1, {}))
    values = schema.get("additionalProperties")
    inner = _plain(values, defs)[0].get("type") if isinstance(values, dict) else None
    if inner in ("string", "integer", "number"):
        return replace(base, control="pairs", numeric=inner != "string")
    return base


def _text_attrs(schema: Schema) -> dict[str, Any]:
    names = {"minLength": "minlength", "maxLength": "maxlength"}
    attrs = {names[key]: schema[key] for key in names if schema.get(key)}
    pattern = str(schema.get("pattern") or "")
    if pattern.startswith("^") and pattern.endswith("$"):
        attrs["pattern"] = pattern[1:-1]
    return attrs


def _number_attrs(schema: Schema, kind: str) -> dict[str, Any]:
    whole = kind == "integer"
    attrs: dict[str, Any] = {"step": 1 if whole else "any", "inputmode": "numeric" if whole else "decimal"}
    for key, name in (("minimum", "min"), ("exclusiveMinimum", "min"), ("maximum", "max"), ("exclusiveMaximum", "max")):
        if key in schema:
            step = {"exclusiveMinimum": 1, "exclusiveMaximum": -1}.get(key, 0) if whole else 0
            attrs[name] = schema[key] + step
    if schema.get("multipleOf"):
        attrs["step"] = schema["multipleOf"]
    return attrs


def _options(schema: Schema) -> tuple[tuple[str, str], ...]:
    labels = schema.get("labels") or {}
    values = [value for value in schema["enum"] if value is not None]
    return tuple((str(value), str(labels.get(value) or _words(str(value)))) for value in values)


def _words(text: str) -> str:
    plain = text.replace("_", " ").replace(".", " ").strip()
    return plain[:1].upper() + plain[1:]


def _label(name: str, title: str) -> str:
    """The title as declared; one that pydantic made of the name becomes words."""
    made_up = not title or title.casefold() == name.replace("_", " ").casefold()
    return LABELS.get(name, _words(name)) if made_up else title


def _placeholder(examples: Any, example: Any) -> str:
    value = examples[0] if isinstance(examples, list) and examples else example
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "\n".join(value)[:200]
    is_plain = isinstance(value, str | int | float) and not isinstance(value, bool)
    return str(value)[:200] if is_plain else ""


def _in_panes(fields: tuple[Field, ...]) -> tuple[Field, ...]:
    """Ways to give the same thing (a text, links, a file), none of which is a must, share one place of the form."""
    places = {one.name: pane for pane, names in PANES.items() for one in fields
              if one.name in names and not one.required and not one.is_nested}  # fmt: skip
    if len(set(places.values())) < 2 or "text" not in places.values():
        return fields
    return tuple(replace(one, pane=places.get(one.name, "")) for one in fields)
