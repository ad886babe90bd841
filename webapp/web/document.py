"""The OpenAPI document: what flask-openapi is told of each operation, and the whole of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from threading import Lock
from typing import TYPE_CHECKING, Any, get_args, get_origin

from pydantic import BaseModel, RootModel, create_model

if TYPE_CHECKING:
    from webapp.web.api import _Options

AN_ERROR = {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorOut"}}}}

# Of a stream the schema describes each event, until OpenAPI 3.2 has a word for it.
AN_EVENT = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("id", "event", "data")},
    "required": ["data"],
}


def stand_in(handler: Callable[..., Any], rule: str, options: _Options) -> Callable[..., Any]:
    def described() -> None: ...

    described.__name__ = handler.__name__
    described.__doc__ = handler.__doc__
    annotations: dict[str, Any] = {}
    names = re.findall(r"<(?:\w+:)?(\w+)>", rule)
    if names:
        title = "Path" + "".join(part.title() for part in names)
        fields: dict[str, Any] = dict.fromkeys(names, (str, ...))
        annotations["path"] = create_model(title, **fields)
    for part in ("query", "form", "body"):
        if getattr(options, part) is not None:
            annotations[part] = getattr(options, part)
    described.__annotations__ = annotations
    described.__signature__ = _signature(annotations)  # type: ignore[attr-defined]
    return described


def _signature(annotations: Mapping[str, Any]) -> Any:
    from inspect import Parameter, Signature

    return Signature([Parameter(name, Parameter.KEYWORD_ONLY, annotation=a) for name, a in annotations.items()])


def responses(method: str, rule: str, handler: Callable[..., Any], options: _Options, dialect: str) -> dict[Any, Any]:
    found: dict[Any, Any] = {options.status: _response_model(options, handler.__name__)}
    found |= {status: dict(AN_ERROR) for status in _errors(method, rule, options, dialect)}
    return found | options.also


def _errors(method: str, rule: str, options: _Options, dialect: str) -> list[int]:
    """What the wrapper itself may answer, and what the handler's declaration adds."""
    found = {400, 429, 503, *options.errors}
    if options.auth != "public":
        found |= {401, 403}
    if method != "GET":
        found |= {403, 507}
    if "<" in rule:
        found.add(404)
    if dialect not in ("eceee", "openai"):  # these know no 422 and say 400
        found.add(422)
    if options.body is not None or options.form is not None:
        found |= {413, 415}
    if options.idempotent:
        found.add(409)
    return sorted(found)


def _response_model(options: _Options, name: str) -> Any:
    if options.status == 204:
        return None
    if isinstance(options.returns, type) and issubclass(options.returns, BaseModel):
        return options.returns
    if get_origin(options.returns) is list:
        item = get_args(options.returns)[0]
        if isinstance(item, type) and issubclass(item, BaseModel):
            return type(f"{item.__name__}List", (RootModel[list[item]],), {})  # type: ignore[valid-type]
    if options.stream:
        return {"description": "OK", "content": {"text/event-stream": {"schema": AN_EVENT}}}
    kinds = options.extra.get("mimetype", "application/json")
    return {"description": "OK", "content": {kind: {"schema": {"type": "object" if kind == "application/json" else "string"}}
                                             for kind in ([kinds] if isinstance(kinds, str) else kinds)}}  # fmt: skip


def first_line(text: str | None) -> str | None:
    return text.strip().splitlines()[0].rstrip(".") if text else None


def slug(rule: str) -> str:
    return re.sub(r"\W+", "_", rule).strip("_") or "root"


_describing = Lock()


def openapi(app: Any) -> dict[str, Any]:
    """The OpenAPI document of all that was installed."""
    with _describing:
        for api in app.extensions["apis"]:
            api.describe()
            app.paths.update(api.paths)
            app.components_schemas.update(api.components_schemas)
            for tag in api.tags:
                if tag.name not in app.tag_names:
                    app.tags.append(tag)
                    app.tag_names.append(tag.name)
        document: dict[str, Any] = app.api_doc
        _share_errors(document)
        return document


def _share_errors(document: dict[str, Any]) -> None:
    """Each error is described once, and the operations refer to it: else they fill half of the document."""
    shared = document["components"].setdefault("responses", {})
    for item in document["paths"].values():
        for operation in item.values():
            responses = operation.get("responses", {}) if isinstance(operation, dict) else {}
            for status, response in list(responses.items()):
                if response.get("content") == AN_ERROR["content"]:
                    name = re.sub(r"\W", "", response["description"])
                    shared[name] = response | _WAIT.get(status, {})
                    responses[status] = {"$ref": f"#/components/responses/{name}"}
                elif status == "422" and "content" in response:
                    del responses[status]  # flask-openapi's own, of another shape, where nobody answers so


_RETRY_AFTER = {"description": "Whole seconds", "schema": {"type": "integer", "minimum": 0}}
_WAIT = dict.fromkeys(("429", "503"), {"headers": {"Retry-After": _RETRY_AFTER}})
