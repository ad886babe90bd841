"""The areas, in the order of the menu. One line each; an area that is not here does not exist."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from flask import Flask


def register(app: Flask, sock: Any) -> None:
    from webapp.administration import pages as administration_pages
    from webapp.administration.api import APIS as administration_apis
    from webapp.agent_service.api import api as agent_service_api
    from webapp.apidocs.pages import pages as apidocs_pages
    from webapp.chat import views as chat_views
    from webapp.chat.api import conversations
    from webapp.chat.pages import pages as chat_pages
    from webapp.chat.sessions_api import api as chat_sessions
    from webapp.crawl.api import crawler
    from webapp.crawl.pages import pages as crawl_pages
    from webapp.embedding.api import api as embedding_api
    from webapp.engines.api import models as models_api
    from webapp.engines.api import server as model_server_api
    from webapp.engines.pages import pages as models_pages
    from webapp.feedback.api import api as feedback_api
    from webapp.feedback.pages import pages as feedback_pages
    from webapp.files.api import files
    from webapp.health.api import health
    from webapp.help.pages import pages as help_pages
    from webapp.home.pages import pages as home_pages
    from webapp.identity.api import api as auth_api
    from webapp.identity.pages import pages as identity_pages
    from webapp.insight.api import APIS as insight_apis
    from webapp.insight.pages import pages as insight_pages
    from webapp.knowledge.api import APIS as knowledge_apis
    from webapp.knowledge.assess_api import APIS as assess_apis
    from webapp.knowledge.pages import pages as knowledge_pages
    from webapp.knowledge.search_api import SEARCH_APIS
    from webapp.knowledge.search_pages import pages as search_pages
    from webapp.knowledge.service import collections
    from webapp.logs.pages import pages as logs_pages
    from webapp.notifications.api import api as notifications_api
    from webapp.notifications.pages import pages as notifications_pages
    from webapp.omeruta.api import agents as omeruta_agents
    from webapp.omeruta.pages import pages as omeruta_pages
    from webapp.omeruta.pages import sockets as omeruta_sockets
    from webapp.openai_api.api import api as openai_api
    from webapp.operations.api import APIS as operations_apis
    from webapp.operations.pages import pages as operations_pages
    from webapp.system.api import system
    from webapp.system.pages import pages as system_pages
    from webapp.task_templates import service as task_templates
    from webapp.task_templates.api import APIS as template_apis
    from webapp.task_templates.pages import pages as templates_pages
    from webapp.tasks.api import APIS as task_apis
    from webapp.tasks.form_fields import Choices
    from webapp.tasks.pages import pages as tasks_pages
    from webapp.tasks.pages import sockets
    from webapp.ui.pages import pages as ui_pages
    from webapp.web.api import install
    from webapp.webhooks.api import APIS as webhook_apis
    from webapp.webhooks.pages import pages as webhooks_pages
    from webapp.writing.pages import pages as writing_pages

    apis = [
        auth_api,
        *task_apis,
        *template_apis,
        *insight_apis,
        files,
        *knowledge_apis,
        *assess_apis,
        *SEARCH_APIS,
        chat_sessions,
        conversations,
        crawler,
        embedding_api,
        models_api,
        model_server_api,
        feedback_api,
        health,
        omeruta_agents,
        system,
        *operations_apis,
        *administration_apis,
        agent_service_api,
        openai_api,
        notifications_api,
        *webhook_apis,
    ]
    install(app, apis)
    for pages in (home_pages, chat_pages, search_pages, tasks_pages, knowledge_pages, crawl_pages, logs_pages,
                  system_pages, feedback_pages, omeruta_pages, operations_pages, identity_pages, apidocs_pages, models_pages,
                  insight_pages, templates_pages, writing_pages, notifications_pages, webhooks_pages, help_pages,
                  administration_pages.users, administration_pages.settings):  # fmt: skip
        app.register_blueprint(pages)
    app.extensions["fragments"]["answer"] = chat_views.fragment
    app.extensions["hub"].places["chat"] = chat_views.stands
    app.extensions["task_templates"] = task_templates
    app.extensions["task_choices"] = {"collection_id": Choices(collections.options, collections.NONE_YET)}
    if app.extensions["runtime"].settings.debug:
        app.register_blueprint(ui_pages)  # the components on one page, for developers
    sockets(sock)
    omeruta_sockets(sock)


@dataclass(frozen=True)
class Item:
    """A line of the menu. It shows when `endpoint` exists, and to whom it is for."""

    endpoint: str
    label: str
    icon: str
    admin: bool = False
    words: str = ""  # other names people look for it by


# (heading, items); the first group has no heading. Every area has its place, also before it is built.
NAV: tuple[tuple[str, tuple[Item, ...]], ...] = (
    ("", (
        Item("home_pages.index", "Home", "house", words="start dashboard"),
        Item("chat_pages.index", "Chat", "message-square", words="ask conversation assistant"),
        Item("tasks_pages.index", "Tasks", "list-checks", words="jobs queue history summaries"),
    )),
    ("Knowledge", (
        Item("search_pages.index", "Search", "search", words="find question passages"),
        Item("knowledge_pages.index", "Knowledge", "book-open", words="documents collections sources"),
        Item("connectors_pages.index", "Connectors", "plug", words="sources import sync crawl"),
    )),
    ("Build", (
        Item("agents_pages.index", "Agents", "bot", words="assistants roles tools"),
        Item("crews_pages.index", "Crews", "users", words="teams"),
        Item("workflows_pages.index", "Workflows", "workflow", words="automation steps schedule trigger"),
        Item("templates_pages.index", "Templates", "layout-template", words="presets"),
        Item("webhooks_pages.index", "Webhooks", "webhook", words="integration events deliveries hooks signed"),
        Item("models_pages.index", "Models", "cpu", words="engines llm embedding"),
    )),
    ("Server", (
        Item("insight_pages.index", "Insight", "chart-line", words="analytics usage charts statistics"),
        Item("system_pages.index", "System", "server", admin=True, words="health status disk memory"),
        Item("logs_pages.index", "Logs", "scroll-text", words="events errors"),
        Item("operations_pages.index", "Operations", "gauge", admin=True, words="queues workers dead letters schedules"),
        Item("people_pages.index", "Users", "user", admin=True, words="people accounts roles invite access quotas"),
        Item("security_pages.index", "Security", "shield", admin=True, words="audit access"),
        Item("settings_pages.index_settings", "Settings", "settings", admin=True, words="configuration options retention quotas"),
        Item("apidocs_pages.swagger", "API", "code", words="openapi swagger documentation rest"),
        Item("ui_pages.index", "Components", "palette", words="design tokens developer"),
    )),
)  # fmt: skip


def menu(known: Collection[str], endpoint: str, is_admin: bool) -> list[dict[str, Any]]:
    """The groups with something in them, for a page served by `endpoint`."""
    section = endpoint.split(".")[0]
    groups = []
    for label, items in NAV:
        shown = [
            {"endpoint": item.endpoint, "label": item.label, "icon": item.icon, "words": item.words,
             "active": item.endpoint.split(".")[0] == section}
            for item in items
            if item.endpoint in known and (is_admin or not item.admin)
        ]  # fmt: skip
        if shown:
            groups.append({"label": label, "items": shown})
    return groups
