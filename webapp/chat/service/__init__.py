"""What can be done with conversations. Called by API, page, worker and command line alike."""

from webapp.chat.service.attaching import attach, attached, detach, scope
from webapp.chat.service.conversations import (
    create,
    find_or_create,
    get,
    list_,
    mark,
    mine,
    remove,
    restore,
    update,
)
from webapp.chat.service.expanding import can_expand, expand
from webapp.chat.service.messages import (
    ask,
    branch,
    cancel,
    edit,
    history,
    message,
    of_task,
    path,
    regenerate,
    retry,
    settled,
    siblings,
)
from webapp.chat.service.searching import search
from webapp.chat.service.sharing import share, shared, shared_source, unshare

__all__ = [
    "attach",
    "attached",
    "detach",
    "scope",
    "search",
    "share",
    "shared",
    "shared_source",
    "unshare",
    "ask",
    "branch",
    "can_expand",
    "cancel",
    "create",
    "edit",
    "expand",
    "find_or_create",
    "get",
    "history",
    "list_",
    "mark",
    "message",
    "mine",
    "of_task",
    "path",
    "regenerate",
    "remove",
    "restore",
    "retry",
    "settled",
    "siblings",
    "update",
]
