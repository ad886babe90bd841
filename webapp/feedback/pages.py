"""The thumbs under an answer: a fragment that other pages include, and where its buttons lead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from flask import current_app, g, redirect, request

from webapp.core.context import Ctx
from webapp.core.errors import Invalid
from webapp.feedback import service
from webapp.feedback.models import Feedback
from webapp.feedback.schemas import RateForm
from webapp.web.api import make_ctx
from webapp.web.auth import safe_next
from webapp.web.page import BoundForm, Pages, is_htmx, render

pages = Pages("feedback_pages")


@pages.post("/feedback/<message_id>", auth="tasks:write", form=RateForm)
def rate(ctx: Ctx, message_id: str, form: BoundForm) -> Any:
    """Thumbs up or down, with a reason and a correction; `none` takes it back."""
    service.check(ctx, message_id)
    if not form.ok:
        raise Invalid(" ".join(f"{name}: {text}" for name, texts in form.errors.items() for text in texts))
    given = form.data
    if given.rating == "none":
        service.undo(ctx, message_id)
    else:
        service.rate(ctx, message_id, 1 if given.rating == "up" else -1, given.reason, given.correction)
    if not is_htmx():
        return redirect(safe_next(given.next, "/") + f"#feedback-{message_id}", 303)
    g.feedback = {message_id: service.of_messages(ctx, [message_id]).get(message_id)}
    asks = given.rating == "down" and not given.reason
    return render("feedback/_feedback.html", message_id=message_id, asks=asks, return_to=given.next)


@pages.app_template_global("feedback_given")
def feedback_given(message_id: str, others: Iterable[str] = ()) -> Feedback | None:
    """What the reader of this page said about an answer. `others`: those that will be asked for as well.

    A page with many answers calls it once with all their ids, and the look-ups after that cost nothing. Outside a
    request (a fragment drawn for a push) nobody has said anything yet.
    """
    if not request or g.get("actor") is None:
        return None
    known: dict[str, Feedback | None] = g.setdefault("feedback", {})
    wanted = [one for one in (message_id, *others) if one not in known]
    if wanted:
        # The page is drawn inside the request's own unit, which must stay as it is.
        with current_app.extensions["runtime"].unit(write=False) as db:
            given = service.of_messages(make_ctx(db, g.actor), wanted)
        known.update({one: given.get(one) for one in wanted})
    return known[message_id]
