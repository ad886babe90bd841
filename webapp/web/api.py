"""Endpoints by declaration: auth, inputs, output and status on the decorator; one wrapper does the rest.

The wrapper parses by pydantic, resolves the caller, opens the unit of work, checks `auth`, honours
`Idempotency-Key`, serialises `returns`, and adds a row to `ROUTES`, which the documentation and the conformance
tests read. flask-openapi writes the OpenAPI document from the same declaration.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import UnionType
from typing import Any, Union, get_args, get_origin

from flask import Flask, Response, current_app, request
from flask_openapi import APIBlueprint, Tag
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_json
from sqlalchemy.orm import Session

from webapp.core.context import Ctx
from webapp.core.db import Base, iso
from webapp.core.errors import BadRequest, Invalid, UnsupportedMedia
from webapp.web import document, guard
from webapp.web.database import request_unit
from webapp.web.document import openapi
from webapp.web.idempotency import replayable

PUBLIC = "public"  # anybody; a credential that is shown must still be good
OPTIONAL = "optional"  # anybody; the anonymous see ownerless things only
ANY = "any"  # any person or key
ADMIN = "admin"


class ApiModel(BaseModel):
    """Base of every body that comes in or goes out."""

    model_config = ConfigDict(from_attributes=True, populate_by_name=True, str_strip_whitespace=False)


class ErrorOut(ApiModel):
    """Every error: `detail` for people, `code` for programs; `errors` names the fields."""

    detail: str
    status_code: int
    code: str
    suggestion: str | None = None
    errors: list[dict[str, Any]] | None = None
    request_id: str | None = None


@dataclass(frozen=True)
class Route:
    """One operation as declared."""

    method: str
    path: str
    auth: str
    endpoint: str
    dialect: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    status: int = 200
    page: bool = False
    stream: bool = False
    paged: bool = False


ROUTES: list[Route] = []


@dataclass
class _Options:
    auth: str
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    form: type[BaseModel] | None = None
    returns: Any = None
    status: int = 200
    write: bool = True
    idempotent: bool = False
    stream: bool = False
    summary: str | None = None
    limit: str | None = None
    bulk: bool = False  # a body as large as an upload may be
    errors: tuple[int, ...] = ()
    also: dict[int, type[BaseModel]] = field(default_factory=dict)  # other answers that are no errors
    extra: dict[str, Any] = field(default_factory=dict)


class Api(APIBlueprint):
    """A blueprint of JSON endpoints of one area. `dialect` picks the error shape: agentic, eceee or omeruta."""

    def __init__(self, name: str, prefix: str, *, tag: str, dialect: str = "agentic") -> None:
        super().__init__(f"{name}_api", __name__, url_prefix=prefix, abp_tags=[Tag(name=tag)])
        self.dialect = dialect
        self._undescribed: list[tuple[str, str, Callable[..., Any], _Options]] = []

    def get(self, rule: str, *, auth: str, **options: Any) -> Callable[..., Any]:  # type: ignore[override]
        return self._declare("GET", rule, _Options(auth, write=options.pop("write", False), **options))

    def post(self, rule: str, *, auth: str, **options: Any) -> Callable[..., Any]:  # type: ignore[override]
        return self._declare("POST", rule, _Options(auth, **options))

    def put(self, rule: str, *, auth: str, **options: Any) -> Callable[..., Any]:  # type: ignore[override]
        return self._declare("PUT", rule, _Options(auth, **options))

    def patch(self, rule: str, *, auth: str, **options: Any) -> Callable[..., Any]:  # type: ignore[override]
        return self._declare("PATCH", rule, _Options(auth, **options))

    def delete(self, rule: str, *, auth: str, **options: Any) -> Callable[..., Any]:  # type: ignore[override]
        return self._declare("DELETE", rule, _Options(auth, **options))

    def _declare(self, method: str, rule: str, options: _Options) -> Callable[..., Any]:
        def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
            self._undescribed.append((method, rule, handler, options))
            endpoint = f"{handler.__name__}"
            if any(r.endpoint == f"{self.name}.{endpoint}" for r in ROUTES if r.path != self._full(rule)):
                endpoint = f"{endpoint}_{method.lower()}_{len(ROUTES)}"
            view = _view(handler, options, self.dialect)
            self.add_url_rule(rule, endpoint=endpoint, view_func=view, methods=[method])
            ROUTES.append(
                Route(
                    method, self._full(rule), options.auth, f"{self.name}.{endpoint}", self.dialect, options.body,
                    options.query, options.form, options.status, stream=options.stream,
                )
            )  # fmt: skip
            return handler

        return decorate

    def _full(self, rule: str) -> str:
        return f"{self.url_prefix or ''}{rule}"

    def describe(self) -> None:
        """Into `paths` and `components_schemas`, what was declared since the last call."""
        while self._undescribed:
            self._describe(*self._undescribed.pop(0))

    def _describe(self, method: str, rule: str, handler: Callable[..., Any], options: _Options) -> None:
        """Let flask-openapi describe the operation from a stand-in that carries the declared types."""
        stand_in = document.stand_in(handler, rule, options)
        self._collect_openapi_info(
            rule,
            stand_in,  # type: ignore[arg-type]
            summary=options.summary or document.first_line(handler.__doc__),
            description=handler.__doc__,
            operation_id=f"{self.name}_{handler.__name__}_{method.lower()}_{document.slug(rule)}",
            security=[] if options.auth == PUBLIC else [{"bearer": []}, {"apiKey": []}, {"cookie": []}],
            responses=document.responses(method, rule, handler, options, self.dialect),
            method=method,
        )


def make_ctx(db: Session, actor: Any) -> Ctx:
    rt = current_app.extensions["runtime"]
    return Ctx(rt, db, actor, request_id=guard.request_id(), ip=request.remote_addr)


# -- the wrapper -----------------------------------------------------------------------------------------------------


def _view(handler: Callable[..., Any], options: _Options, dialect: str) -> Callable[..., Any]:
    serialise = _serialiser(options.returns)

    def view(**path: Any) -> Any:
        guard.set_dialect(dialect)
        _plain_path(path)
        if options.bulk:
            request.max_content_length = current_app.config["MAX_CONTENT_LENGTH"]
        request.get_data(cache=True, parse_form_data=not request.is_json)  # a slow body must not hold a transaction
        with request_unit(write=options.write) as db:
            actor = guard.admit(db, options.auth, limit=options.limit)
            inputs = _inputs(options)
            ctx = make_ctx(db, actor)
            if options.idempotent and "Idempotency-Key" in request.headers:
                return replayable(ctx, lambda: _respond(handler(ctx, **path, **inputs), options.status, serialise))
            return _respond(handler(ctx, **path, **inputs), options.status, serialise)

    view.__name__ = handler.__name__
    view.__doc__ = handler.__doc__
    return view


def _inputs(options: _Options) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if options.query is not None:
        found["query"] = validate(options.query, _values(options.query, request.args))
    if options.form is not None:
        if request.mimetype not in ("multipart/form-data", "application/x-www-form-urlencoded"):
            raise UnsupportedMedia("send this as a form (multipart/form-data)")
        found["form"] = validate(options.form, {**_values(options.form, request.form), **_files(options.form)})
    if options.body is not None:
        found["body"] = read_json(options.body)
    return found


def _files(model: type[BaseModel]) -> dict[str, Any]:
    """A file by field, or all of them where the model wants a list."""
    lists = _list_fields(model)
    return {name: request.files.getlist(name) if name in lists else request.files[name] for name in request.files}


BRANCHES = 20_000  # objects and lists in a body: each costs many times its two characters in memory
STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\Z)', re.DOTALL)


def read_json(model: type[BaseModel]) -> Any:
    """The JSON body as `model`. BadRequest for what is no JSON object, Invalid naming the fields otherwise."""
    if request.mimetype and request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise UnsupportedMedia(f"send the body as application/json, not {request.mimetype[:60]}")
    raw = request.get_data(cache=True)
    if not raw.strip():
        raw = b"{}"
    if _branches(raw) > BRANCHES and _branches(STRING.sub(b"", raw)) > BRANCHES:
        raise BadRequest("the JSON is nested or branched too far", code="bad_json")
    try:
        data = json.loads(raw, object_pairs_hook=_no_repeats, parse_constant=_no_constant, parse_float=_finite)
    except (ValueError, RecursionError) as exc:
        text = "too deep" if isinstance(exc, RecursionError) else str(exc)[:200]
        raise BadRequest(f"the body is not valid JSON: {text}", code="bad_json") from None
    if not isinstance(data, dict):
        raise BadRequest("the body must be a JSON object", code="bad_json")
    return validate(model, data)


def validate(model: type[BaseModel], data: Mapping[str, Any]) -> Any:
    try:
        return model.model_validate(data)
    except ValidationError as exc:
        raise _invalid(exc) from None


def _invalid(exc: ValidationError) -> Invalid:
    errors = [
        {"loc": [str(part) for part in error["loc"]], "msg": error["msg"].removeprefix("Value error, "),
         "type": error["type"]}
        for error in exc.errors(include_url=False, include_context=False, include_input=False)
    ]  # fmt: skip
    first: dict[str, Any] = errors[0]
    where = ".".join(first["loc"])
    return Invalid(f"{where}: {first['msg']}" if where else first["msg"], details=errors)


def _branches(raw: bytes) -> int:
    return raw.count(b"[") + raw.count(b"{")


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key appears twice")
    for key, value in pairs:
        if _lone(key) or _holds_lone(value):
            raise ValueError("a lone surrogate is no text")
    return found


def _holds_lone(value: Any) -> bool:
    """Objects inside have been looked at before."""
    if isinstance(value, list):
        return any(_holds_lone(item) for item in value)
    return isinstance(value, str) and _lone(value)


def _lone(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= char <= "\udfff" for char in text)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    value = float(text)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number is too large")
    return value


def _plain_path(path: Mapping[str, Any]) -> None:
    for value in path.values():
        if isinstance(value, str) and ("\0" in value or _lone(value)):
            raise BadRequest("the path holds characters that no id has")


def _values(model: type[BaseModel], source: Any) -> dict[str, Any]:
    """Query or form values: lists where the model wants lists, else the last one; empty means not given."""
    found: dict[str, Any] = {}
    lists = _list_fields(model)
    for name in source:
        if name in lists:
            found[name] = [value for value in source.getlist(name) if value != ""]
        elif source.get(name) != "":
            found[name] = source.getlist(name)[-1]
        if "\0" in str(found.get(name, "")):
            raise BadRequest(f"{name}: holds a NUL character")
    return found


@lru_cache(maxsize=512)
def _list_fields(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(info.alias or name for name, info in model.model_fields.items() if _wants_list(info.annotation))


def _wants_list(annotation: Any) -> bool:
    if get_origin(annotation) in (Union, UnionType):
        return any(_wants_list(arg) for arg in get_args(annotation))
    return get_origin(annotation) in (list, set, tuple) or annotation in (list, set, tuple)


# -- answers ---------------------------------------------------------------------------------------------------------


def _respond(value: Any, status: int, serialise: Callable[[Any], bytes]) -> Response:
    if isinstance(value, Response):
        return value
    headers: dict[str, str] = {}
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[1], int):
        value, status = value
    if value is None:
        return Response(status=204 if status == 200 else status)
    return Response(serialise(value), status, headers, mimetype="application/json")


def _serialiser(returns: Any) -> Callable[[Any], bytes]:
    if returns is None:
        return lambda value: to_json(value, serialize_unknown=True)
    adapter: TypeAdapter[Any] = TypeAdapter(returns)

    def serialise(value: Any) -> bytes:
        if isinstance(value, dict | list) and not _has_rows(value):
            return to_json(value, serialize_unknown=True)
        return adapter.dump_json(adapter.validate_python(value, from_attributes=True), by_alias=True)

    return serialise


_ROWS = (Base, BaseModel)


def _has_rows(value: Any) -> bool:
    items = value if isinstance(value, list) else value.values()
    return any(isinstance(item, _ROWS) or (isinstance(item, list) and _has_rows(item)) for item in items)


def install(app: Flask, apis: list[Api]) -> None:
    """The routes now; their description when somebody asks for it: it takes longer than all the rest of a start."""
    for api in apis:
        app.register_blueprint(api)
    app.extensions["apis"] = apis


__all__ = [
    "ADMIN",
    "ANY",
    "Api",
    "ApiModel",
    "ErrorOut",
    "OPTIONAL",
    "PUBLIC",
    "ROUTES",
    "Route",
    "iso",
    "openapi",
    "validate",
]
