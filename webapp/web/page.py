"""Pages and fragments by declaration; the twin of `api.py` for HTML."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flask import Blueprint, Response, g, render_template, request
from pydantic import BaseModel, ValidationError

from webapp.core.errors import BadRequest
from webapp.web import guard
from webapp.web.api import ROUTES, Route, _plain_path, _values, make_ctx
from webapp.web.database import request_unit


@dataclass
class BoundForm:
    """A submitted form: `data` is the model when all fields fit, else `errors` says what does not, field by field."""

    data: Any = None
    values: dict[str, Any] = field(default_factory=dict)
    errors: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        return self.data is not None and not self.errors

    def fail(self, name: str, message: str) -> None:
        self.errors.setdefault(name, []).append(message)

    def view(self) -> dict[str, Any]:
        """What a template needs to show the form again with its input."""
        return {"values": self.values, "errors": self.errors}


class Pages(Blueprint):
    def __init__(self, name: str, prefix: str | None = None) -> None:
        super().__init__(name, __name__, url_prefix=prefix)

    def get(self, rule: str, *, auth: str, **options: Any) -> Callable[..., Any]:  # type: ignore[override]
        return self._declare("GET", rule, auth, write=options.pop("write", False), **options)

    def post(self, rule: str, *, auth: str, **options: Any) -> Callable[..., Any]:  # type: ignore[override]
        return self._declare("POST", rule, auth, **options)

    def _declare(
        self,
        method: str,
        rule: str,
        auth: str,
        *,
        form: type[BaseModel] | None = None,
        write: bool = True,
        limit: str | None = None,
    ) -> Callable[..., Any]:
        def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
            def view(**path: Any) -> Any:
                _plain_path(path)
                request.get_data(cache=True, parse_form_data=True)  # a slow body must not hold a transaction
                with request_unit(write=write) as db:
                    actor = guard.admit(db, auth, limit=limit)
                    inputs = {"form": bind(form)} if form is not None else {}
                    return handler(make_ctx(db, actor), **path, **inputs)

            self.add_url_rule(rule, endpoint=handler.__name__, view_func=view, methods=[method])
            path = f"{self.url_prefix or ''}{rule}"
            ROUTES.append(Route(method, path, auth, f"{self.name}.{handler.__name__}", "page", form=form, page=True))
            return handler

        return decorate


def bind(model: type[BaseModel]) -> BoundForm:
    try:
        raw = _values(model, request.form)
    except BadRequest as exc:
        return BoundForm(None, {}, {"": [exc.message]})
    values = {name: value for name, value in raw.items() if name != "csrf_token"}
    files = {name: file for name, file in request.files.items() if file.filename}
    try:
        return BoundForm(model.model_validate({**values, **files}), values)
    except ValidationError as exc:
        bound = BoundForm(None, values)
        for error in exc.errors(include_url=False, include_context=False, include_input=False):
            bound.fail(str(error["loc"][0]) if error["loc"] else "", error["msg"].removeprefix("Value error, "))
        return bound


def render(template: str, **context: Any) -> str:
    return render_template(template, **context)


def is_htmx() -> bool:
    return request.headers.get("HX-Request") == "true"


def toast(response: Response, message: str, kind: str = "info") -> Response:
    """Show a short message through the HX-Trigger header."""
    text = json.dumps({"toast": {"message": message[:300], "kind": kind}})
    response.headers["HX-Trigger"] = text.encode("ascii", "backslashreplace").decode()
    return response


def dom_id(thing: Any, part: str = "") -> str:
    """The id both sides agree on: `task-<id>-status`."""
    name = type(thing).__name__.lower().removesuffix("view")
    ident = thing.id if hasattr(thing, "id") else thing
    return f"{name}-{ident}" + (f"-{part}" if part else "")


def current_view_actor() -> Any:
    return g.get("actor")
