"""Plugins: names to things, built-in ones and a stranger's through the same door, loaded on first use.

Built-ins are dotted paths `module:object`; installed packages add entry points in the registry's group;
the operator may add `name=module:object` by setting. A broken plugin disables itself, not the app.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from webapp.core.errors import NotFound

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class PluginInfo:
    name: str
    path: str
    origin: str  # "built-in", "setting" or "package version"
    error: str | None


class Registry(Generic[T]):
    def __init__(self, group: str, builtin: Mapping[str, str], noun: str) -> None:
        self.group, self.noun = group, noun
        self._builtin = dict(builtin)
        self._paths: dict[str, tuple[str, str]] | None = None
        self._loaded: dict[str, T] = {}
        self._errors: dict[str, str] = {}
        self._extra: dict[str, str] = {}

    def add_setting(self, specs: tuple[str, ...]) -> None:
        """Operator's additions, each `name=module:object`."""
        for spec in specs:
            name, path = spec.split("=", 1)
            self._extra[name] = path
        self._paths = None

    def names(self) -> list[str]:
        """Every name, loaded or not, without importing anything."""
        return list(self._known())

    def get(self, name: str) -> T:
        """The thing called `name`. Raises NotFound for an unknown or broken one."""
        if name not in self._loaded:
            self._load(name)
        if name in self._errors:
            raise NotFound(f"{name} is installed but does not load: {self._errors[name]}")
        return self._loaded[name]

    def all(self) -> Iterator[tuple[str, T]]:
        """Every thing that loads, in order of declaration."""
        for name in self.names():
            try:
                yield name, self.get(name)
            except NotFound:
                continue

    def info(self) -> list[PluginInfo]:
        rows = []
        for name, (path, origin) in self._known().items():
            if name not in self._loaded:
                self._load(name)
            rows.append(PluginInfo(name, path, origin, self._errors.get(name)))
        return rows

    def _known(self) -> dict[str, tuple[str, str]]:
        if self._paths is None:
            found = {name: (path, "built-in") for name, path in self._builtin.items()}
            for point in entry_points(group=self.group):
                origin = f"{point.dist.name} {point.dist.version}" if point.dist else "package"
                if point.name in found and found[point.name][0] != point.value:
                    log.warning("plugin %s of %s hides nothing: the name is taken", point.name, origin)
                    continue
                found.setdefault(point.name, (point.value, origin))
            found.update({name: (path, "setting") for name, path in self._extra.items()})
            self._paths = found
        return self._paths

    def _load(self, name: str) -> None:
        if name not in self._known():
            raise NotFound(f"there is no {self.noun} called {name[:64]}")
        module, _, attribute = self._known()[name][0].partition(":")
        try:
            thing: Any = getattr(import_module(module), attribute)
        except Exception as exc:
            log.exception("plugin %s does not load", name)
            self._errors[name] = f"{type(exc).__name__}: {exc}"
        else:
            self._errors.pop(name, None)
            self._loaded[name] = thing
