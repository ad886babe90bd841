"""The models as the endpoints of a model server list them (contract shapes 6.1): name, size, modified_at, digest."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from webapp.core.db import iso
from webapp.core.errors import AppError, NoModel
from webapp.engines import local, ollama, servers, service

if TYPE_CHECKING:
    from webapp.runtime import Runtime


def entries(rt: Runtime) -> list[dict[str, Any]]:
    """Files first, then what each server has. What nobody knows is None."""
    found = [_file(rt, name) for name in local.files(rt)]
    for server in servers.servers(rt):
        try:
            names = [one.name for one in servers.models(rt, server)]
        except AppError:
            continue
        tagged = {one["name"]: one for one in ollama.tags(rt, server)}
        for name in names:
            tag = tagged.get(name, {})
            found.append({"name": name, **{key: tag.get(key) for key in ("size", "modified_at", "digest")}})
    return found


def _file(rt: Runtime, name: str) -> dict[str, Any]:
    path = local.folder(rt) / name
    try:
        stands = path.stat()
    except OSError:
        return {"name": name, "size": None, "modified_at": None, "digest": None}
    digest = local.checksum(path)
    return {"name": name, "size": stands.st_size, "modified_at": iso(datetime.fromtimestamp(stands.st_mtime, UTC)),
            "digest": f"sha256:{digest}" if digest else None}  # fmt: skip


def health(rt: Runtime) -> dict[str, Any]:
    """Healthy when every configured server answers or files are here; degraded when some do not; else unhealthy."""
    among, states = servers.servers(rt), []
    servers.ask_all(rt, among)
    for server in among:
        try:
            states.append({"name": server.name, "answers": True, "models_available": len(servers.models(rt, server))})
        except AppError:  # why is for administrators: anybody may ask for this
            states.append({"name": server.name, "answers": False, "models_available": 0})
    usable = [one for one in service.available(rt, wait=False) if one.available]
    broken = not all(one["answers"] for one in states)
    status = "unhealthy" if not usable else "degraded" if broken else "healthy"
    return {"status": status, "models_available": len(usable), "default_model": default(rt), "servers": states}


def default(rt: Runtime, task_type: str = "") -> str | None:
    try:
        return service.choose(rt, "", task_type).id
    except NoModel:
        return None


def pull_target(rt: Runtime) -> str:
    """The server that pulls a model somebody names: the first Ollama; "" is the hub, into our own folder."""
    return next((one.name for one in servers.servers(rt) if ollama.speaks(rt, one)), "")
