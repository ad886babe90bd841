"""Every setting: name, type, default, help, secret, validator. Built once, frozen, loud about mistakes.

Order of precedence: flags > environment > `<HOME>/brainstem.env` > default. A secret may come from a file
named by `<NAME>_FILE`. An unknown `BRAINSTEM_*` name stops the start with a near-match hint.
"""

from __future__ import annotations

import difflib
import math
import os
import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class SettingsError(SystemExit):
    """One clear line on standard error, exit code 2."""

    def __init__(self, message: str) -> None:
        super().__init__(2)
        self.message = message

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Option:
    """One setting as declared: `env` names are tried in order, the first is the documented one."""

    name: str
    env: tuple[str, ...]
    parse: Callable[[str], Any]
    default: Any
    help: str
    secret: bool = False
    check: Callable[[Any], str | None] | None = None
    live: bool = False  # an administrator may change it while the program runs (core/stored.py)


def _bool(text: str) -> bool:
    known = {"1": True, "true": True, "yes": True, "on": True, "0": False, "false": False, "no": False, "off": False}
    if text.strip().lower() not in known:
        raise ValueError("use true or false")
    return known[text.strip().lower()]


def _csv(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _at_least(low: float) -> Callable[[Any], str | None]:
    return lambda value: None if low <= value < math.inf else f"must be at least {low:g}"


def _between(low: float, high: float) -> Callable[[Any], str | None]:
    return lambda value: None if low <= value <= high else f"must be between {low:g} and {high:g}"


def _one_of(*names: str) -> Callable[[Any], str | None]:
    return lambda value: None if value in names else "must be one of " + ", ".join(names)


def _rate(value: str) -> str | None:
    fits = re.fullmatch(r"[1-9]\d*\s*(/|per)\s*([1-9]\d*\s*)?(second|minute|hour|day)s?", value.strip(), re.IGNORECASE)
    return None if fits else "is no rate such as 600/minute"


def _ports(value: tuple[str, ...]) -> str | None:
    wrong = [port for port in value if not (port.isascii() and port.isdigit() and 1 <= int(port[:6]) <= 65535)]
    return f"holds {wrong[0]!r}, which is no port" if wrong else None


def _servers(value: tuple[str, ...]) -> str | None:
    wrong = [part for part in value if not re.fullmatch(r"[\w.-]{1,40}=https?://[^\s@]+", part)]
    return f"holds {wrong[0]!r}, which is not name=url" if wrong else None


def _http_url(value: str) -> str | None:
    fits = not value or re.fullmatch(r"https?://[^\s/]+(/\S*)?", value)
    return None if fits else "is no address that begins with http:// or https://"


def _providers(value: tuple[str, ...]) -> str | None:
    form = r"(?:searxng|brave)=https?://\S+|json=https?://\S*\{query\}\S*"
    wrong = [one for one in value if not re.fullmatch(form, one)]
    return f"holds {wrong[0]!r}, which is none of searxng=url, brave=url, json=url with {{query}}" if wrong else None


def _addresses(value: tuple[str, ...]) -> str | None:
    wrong = [one for one in value if not re.fullmatch(r"https?://\S+", one)]
    return f"holds {wrong[0]!r}, which is no address" if wrong else None


def _sender(value: str) -> str | None:
    fits = re.fullmatch(r"(?:[^<>@\r\n]*<[^<>@\s]+@[^<>@\s]+>|[^<>@\s]+@[^<>@\s]+)", value)
    return None if fits else "is no address such as Brainstem <brainstem@example.org>"


def _plugin_paths(value: tuple[str, ...]) -> str | None:
    wrong = [spec for spec in value if not re.fullmatch(r"[^=\s]+=[\w.]+:[\w.]+", spec)]
    return f"holds {wrong[0]!r}, which is not name=module:object" if wrong else None


def _mb_by_ending(value: tuple[str, ...]) -> str | None:
    wrong = [one for one in value if not re.fullmatch(r"[a-z0-9]{1,10}=\d{1,4}", one)]
    return f"holds {wrong[0]!r}, which is not a type with MB, such as csv=200" if wrong else None


def _days_by_name(value: tuple[str, ...]) -> str | None:
    wrong = [one for one in value if not re.fullmatch(r"[a-z][\w.]{0,63}=\d{1,5}", one)]
    return f"holds {wrong[0]!r}, which is not a status or kind with days, such as failed=90" if wrong else None


def _embedders(value: tuple[str, ...]) -> str | None:
    wrong = [
        one
        for one in value
        if not re.fullmatch(r"st:\S+|openai:[^\s@]+@https?://\S+|(?!st:|openai:)[\w.-]+(:\S+)?", one)
    ]
    return f"holds {wrong[0]!r}, which is neither st:<name> nor openai:<model>@<base URL>" if wrong else None


def _opt(name: str, parse: Callable[[str], Any], default: Any, help: str, *aliases: str, **more: Any) -> Option:
    env = aliases if aliases else (f"BRAINSTEM_{name.upper()}",)
    return Option(name, env, parse, default, help, **more)


# fmt: off
OPTIONS: tuple[Option, ...] = (
    _opt("home", Path, Path("~/.brainstem"), "Folder of all data in embedded mode: database, files, keys."),
    _opt("host", str, "127.0.0.1", "Address to serve on. Anything but loopback needs a password or AUTH_REQUIRED=1.",
         "BRAINSTEM_HOST", "HOST"),
    _opt("port", int, 8000, "Port to serve on.", "PORT", "BRAINSTEM_PORT", check=_between(0, 65535)),
    _opt("live_port", int, 0, "Port of the separate live (WebSocket, SSE) process; 0 serves them with the pages.",
         check=_between(0, 65535)),
    _opt("database_url", str, "", "Database. Empty: SQLite in HOME. postgresql+psycopg://user:password@host/name",
         "DATABASE_URL", "BRAINSTEM_DATABASE_URL", secret=True),
    _opt("redis_url", str, "", "Redis for messages, bells and limits. Empty: inside the process.",
         "REDIS_URL", "BRAINSTEM_REDIS_URL", "CELERY_BROKER_URL", secret=True),
    _opt("secret_key", str, "", "Signs sessions and tokens. Empty: made at first start and kept in HOME/secret.key.",
         "SECRET_KEY", "BRAINSTEM_SECRET_KEY", secret=True),
    _opt("api_key", str, "", "One operator key that is accepted as an administrator's bearer value.",
         "API_KEY", "BRAINSTEM_API_KEY", secret=True),
    _opt("auth_required", _bool, False, "Ask for credentials even on loopback.",
         "AUTH_REQUIRED", "BRAINSTEM_AUTH_REQUIRED"),
    _opt("registration", _bool, True, "Let people create their own accounts (the first account is an administrator)."),
    _opt("trusted_hosts", _csv, (), "Host names, besides loopback names, under which the pages may be asked for."),
    _opt("public_url", str, "", "Address people use, for links in messages. Empty: taken from host and port."),
    _opt("proxy_hops", int, 0, "How many reverse proxies set X-Forwarded-For and -Proto.", check=_between(0, 5)),
    _opt("debug", _bool, False, "Tracebacks in the browser; refused unless on loopback.", "DEBUG", "BRAINSTEM_DEBUG"),
    _opt("log_level", str.upper, "INFO", "DEBUG, INFO, WARNING or ERROR.", "LOG_LEVEL", "BRAINSTEM_LOG_LEVEL",
         check=_one_of("DEBUG", "INFO", "WARNING", "ERROR")),
    _opt("log_format", str, "auto", "json, text, or auto: text on a terminal.", check=_one_of("auto", "json", "text")),
    _opt("max_upload_mb", int, 25, "Largest upload, in MB.", check=_between(1, 2048)),
    _opt("upload_limits", _csv, (), "Other limits for a type of file, in MB, such as csv=200,pdf=50; 0 takes none of that type."
         " A proxy in front has a limit of its own.", check=_mb_by_ending),
    _opt("max_body_kb", int, 1024, "Largest request body that is not an upload, in KB.", check=_between(16, 65536)),
    _opt("rate_limit", str, "600/minute", "Requests of one user to the API, such as 600/minute.", check=_rate),
    _opt("login_rate_limit", str, "10/minute", "Login tries of one address and of one account name.",
         check=_rate),
    _opt("token_minutes", int, 30, "Life of a JWT access token, in minutes.", check=_at_least(1)),
    _opt("refresh_days", int, 14, "Life of a refresh token and of a session, in days.", check=_at_least(1)),
    _opt("ws_per_user", int, 50, "Live connections (WebSocket and SSE) one user may hold.", check=_at_least(1)),
    _opt("ws_total", int, 200, "Live connections in all, over all processes.", check=_at_least(1)),
    _opt("ws_messages_per_minute", int, 100, "Messages one WebSocket client may send a minute.", check=_at_least(1)),
    _opt("answer_wait", float, 300.0, "How long a request that waits for an answer is held before it gets 504, in seconds; "
         "the answer is written all the same.", check=_at_least(0)),
    _opt("worker_threads", _csv, ("interactive=2", "inference=2", "crawling=4", "embedding=1", "workflows=2",
         "maintenance=1"), "Worker threads by queue, per process."),
    _opt("worker_max_tasks", int, 1000, "A worker process of a deployment is replaced after so many tasks; 0 never.",
         check=_at_least(0)),
    _opt("lease_seconds", float, 30.0, "How long a worker owns a task without a sign of life.", check=_at_least(1)),
    _opt("beat_seconds", float, 10.0, "How often a worker says that it lives.", check=_at_least(0.2)),
    _opt("sweep_seconds", float, 5.0, "How often lost, due and unsent tasks are looked for.", check=_at_least(0.2)),
    _opt("grace_seconds", float, 25.0, "How long running tasks may finish at shutdown before they are parked.",
         check=_at_least(0)),
    _opt("task_limit_seconds", float, 7200.0, "Longest life of a task without a limit of its own (2 hours).",
         check=_at_least(1)),
    _opt("max_crashes", int, 3, "After so many lost workers a task is put aside as a dead letter.", check=_at_least(1)),
    _opt("unknown_kind_seconds", float, 3600.0, "How long a task whose kind a worker does not know waits for one that does, as"
         " while an upgrade is under way; then it is a dead letter.", check=_at_least(0)),
    _opt("retention_days", int, 30, "Finished tasks older than this are deleted daily; 0 keeps them.",
         check=_between(0, 36500), live=True),
    _opt("retention_tasks", _csv, (), "Other days for a status or a kind of task, such as failed=90,summary=7; a kind wins"
         " over a status.", check=_days_by_name, live=True),
    _opt("retention_conversations_days", int, 0, "Conversations that nobody wrote in for so long are deleted daily, but for"
         " pinned and shared ones; 0 keeps them.", check=_between(0, 36500), live=True),
    _opt("retention_files_days", int, 30, "Uploads older than this are deleted daily; 0 keeps them.",
         check=_between(0, 36500), live=True),
    _opt("retention_logs_days", int, 0, "Logs of finished tasks older than this are deleted daily; 0 keeps them as long as"
         " the task.", check=_between(0, 36500), live=True),
    _opt("retention_notifications_days", int, 90, "Notifications, deliveries to channels and webhooks with their log, older than"
         " this are deleted daily, but for what is still to be sent; 0 keeps them.", check=_between(0, 36500), live=True),
    _opt("retention_searches_days", int, 90, "What people searched for is forgotten after so many days; 0 keeps it.",
         check=_between(0, 36500), live=True),
    _opt("retention_audit_days", int, 0, "Entries of the audit log older than this are deleted daily; 0 keeps them.",
         check=_between(0, 36500), live=True),
    _opt("quota_open_tasks", int, 100, "Tasks of one person that wait or run at a time; 0 is no limit. Administrators have"
         " no quotas unless they are given some.", check=_between(0, 10**9), live=True),
    _opt("quota_tasks_per_day", int, 2000, "Tasks one person may start in a day (UTC); 0 is no limit.",
         check=_between(0, 10**9), live=True),
    _opt("quota_stored_mb", int, 2048, "Uploads one person may have stored, in MB; 0 is no limit.",
         check=_between(0, 10**9), live=True),
    _opt("quota_tokens_per_day", int, 2_000_000, "Tokens that language models read and write for one person in a day (UTC);"
         " 0 is no limit.", check=_between(0, 10**12), live=True),
    _opt("models_dir", str, "", "Folder of GGUF model files. Empty: HOME/models."),
    _opt("model", str, "", "The language model used where nobody chose one, such as ggml:tinyllama.gguf or "
         "openai:llama3@ollama. Empty: the first that can be used."),
    _opt("model_servers", _csv, (), "Servers that speak OpenAI's protocol, as name=url, such as ollama=http://127.0.0.1:11434/v1.",
         check=_servers),
    _opt("model_keys", _csv, (), "Keys of the model servers, as name=key.", secret=True),
    _opt("openai_api_key", str, "", "Key of OpenAI; with it the server `openai` is there beside the local models.",
         "OPENAI_API_KEY", "BRAINSTEM_OPENAI_API_KEY", secret=True),
    _opt("openai_base_url", str, "https://api.openai.com/v1", "Address that the key of OpenAI belongs to.",
         "OPENAI_BASE_URL", "BRAINSTEM_OPENAI_BASE_URL", check=_http_url),
    _opt("model_library", str, "auto", "What runs a model file: ctransformers, llama_cpp (the extra `llama`), or auto:"
         " llama_cpp where it is installed.", check=_one_of("auto", "ctransformers", "llama_cpp")),
    _opt("models_loaded", int, 1, "Model files one process keeps in memory at a time; the next one waits or takes the place.",
         check=_between(1, 16)),
    _opt("model_idle_seconds", float, 600.0, "Seconds after which an unused model gives its memory back.", check=_at_least(5)),
    _opt("hub_url", str, "https://huggingface.co", "Where `brainstem models pull` finds GGUF files: Hugging Face or a mirror.",
         "HF_ENDPOINT", "BRAINSTEM_HUB_URL", check=_http_url),
    _opt("hub_token", str, "", "Token for models one has to ask for.", "HF_TOKEN", "BRAINSTEM_HUB_TOKEN", secret=True),
    _opt("model_threads", int, 0, "Processor threads of a local model; 0 is one per core, at most 8, and fewer while other work wants the cores.",
         check=_between(0, 256)),
    _opt("model_context", int, 4096, "Most tokens of a local model's window, prompt and answer together.",
         check=_between(256, 1_048_576)),
    _opt("allow_hosts", _csv, (), "Private hosts (host or host:port) that fetches may reach, such as a model server."),
    _opt("fetch_ports", _csv, (), "Ports besides 80, 443, 8080 and 8443 that fetches may use.", check=_ports),
    _opt("render", _bool, False, "Show pages that fill themselves by a script in a browser before reading them. Needs brainstem[render] and a Chromium."),
    _opt("chromium", str, "", "Program of the browser that shows such pages. Empty: the one that Playwright installed."),
    _opt("search_providers", _csv, (), "Where research looks for pages: searxng=https://host/search,"
         " brave=https://api.search.brave.com/res/v1/web/search, json=https://host/api?q={query}.", check=_providers),
    _opt("search_keys", _csv, (), "Keys of the search providers, as brave=key or json=key.", secret=True),
    _opt("research_sources", _csv, (), "Where research looks without a search provider, besides links of stored pages:"
         " addresses with {topic} (https://en.wikipedia.org/wiki/{topic}), sitemaps, feeds, pages full of links.",
         check=_addresses),
    _opt("embedders", _csv, (), "Embedders besides minilm that collections may use: st:<folder or name> and"
         " openai:<model>@<base URL>, such as openai:nomic-embed-text@http://127.0.0.1:11434/v1.", check=_embedders),
    _opt("embedder", str, "minilm", "Embedder of new collections."),
    _opt("embedder_key", str, "", "Bearer value sent to the servers of openai: embedders.", secret=True),
    _opt("embed_threads", int, 0, "Threads of the local embedder; 0 takes half of the cores, at least 2.",
         check=_between(0, 256)),
    _opt("chroma_url", str, "", "Chroma server of a deployment. Without it, search answers from keywords only.",
         "CHROMA_URL", "BRAINSTEM_CHROMA_URL", secret=True),
    _opt("alert_url", str, "", "Where alerts for administrators are POSTed as JSON (a chat service's webhook). Empty: to the log only.",
         check=_http_url, secret=True),
    _opt("smtp_host", str, "", "Mail server for notifications by e-mail. Empty: no mail is sent."),
    _opt("smtp_port", int, 587, "Port of the mail server.", check=_between(1, 65535)),
    _opt("smtp_tls", str.lower, "starttls", "starttls, tls (from the first byte, usually port 465) or none.",
         check=_one_of("starttls", "tls", "none")),
    _opt("smtp_user", str, "", "User name on the mail server. Empty: no login."),
    _opt("smtp_password", str, "", "Password on the mail server.", secret=True),
    _opt("smtp_from", str, "Brainstem <brainstem@localhost>", "Sender of the mails.", check=_sender),
    _opt("sqlite_synchronous", str.upper, "NORMAL", "NORMAL survives a killed process, FULL a power cut too.",
         check=_one_of("NORMAL", "FULL")),
    _opt("pool_size", int, 10, "Database connections one process keeps.", check=_between(1, 100)),
    _opt("demo", _bool, True, "Load Brainstem's own documentation as a first collection everybody may read."),
    _opt("mcp_url", str, "", "Which Brainstem `brainstem mcp` asks. Empty: the one of this machine, on PORT.",
         check=_http_url),
    _opt("mcp_key", str, "", "API key that `brainstem mcp` sends to it.", secret=True),
    _opt("plugins", _csv, (), "Extra task kinds as name=module:object, besides those of installed packages.",
         check=_plugin_paths),
)
# fmt: on

BY_NAME = {option.name: option for option in OPTIONS}

# Not settings of the program, yet named like one.
_KNOWN_ELSEWHERE = {"BRAINSTEM_FAILPOINT", "BRAINSTEM_SHARED", "BRAINSTEM_ROLE", "BRAINSTEM_WORKER_ID"}


@dataclass(frozen=True)
class Settings:
    """All values, and where each came from (`origins[name]`: default, file, environment, flag)."""

    values: Mapping[str, Any]
    origins: Mapping[str, str]
    warnings: tuple[str, ...] = field(default=())

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def distributed(self) -> bool:
        return bool(self.redis_url)

    @property
    def home_dir(self) -> Path:
        return Path(self.home).expanduser()

    @property
    def largest_upload_mb(self) -> int:
        """Of any type."""
        return max([self.max_upload_mb, *(int(one.partition("=")[2]) for one in self.upload_limits)])

    def upload_mb(self, ending: str) -> int:
        """Of files that end so (`.csv`); 0: none of them."""
        given = dict(one.split("=", 1) for one in self.upload_limits)
        return int(given.get(ending.lstrip("."), self.max_upload_mb))

    def threads_of(self, queue: str) -> int:
        return int(dict(part.split("=", 1) for part in self.worker_threads).get(queue, "1"))


def load(env: Mapping[str, str] | None = None, **flags: Any) -> Settings:
    """Read all settings. Raises SettingsError with one line that says what to change."""
    env = dict(os.environ if env is None else env)
    file_env = _read_env_file(_home_of(env, flags) / "brainstem.env")
    _refuse_unknown(env, "environment")
    _refuse_unknown(file_env, "brainstem.env")
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for option in OPTIONS:
        values[option.name], origins[option.name] = _value_of(option, flags, env, file_env)
    _check_together(values)
    return Settings(values, origins)


def _home_of(env: Mapping[str, str], flags: Mapping[str, Any]) -> Path:
    return Path(flags.get("home") or env.get("BRAINSTEM_HOME") or "~/.brainstem").expanduser()


def _read_env_file(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    pairs = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if "=" not in line:
            raise SettingsError(f"{path}, line {number}: write NAME=value")
        name, value = line.removeprefix("export ").split("=", 1)
        pairs[name.strip()] = value.strip().strip("'\"")
    return pairs


def _refuse_unknown(env: Mapping[str, str], where: str) -> None:
    known = {name for option in OPTIONS for name in option.env} | _KNOWN_ELSEWHERE
    known |= {f"{name}_FILE" for option in OPTIONS if option.secret for name in option.env}
    for name in env:
        if name.startswith("BRAINSTEM_") and name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.6)
            hint = f"; did you mean {near[0]}?" if near else "; see `brainstem config`"
            raise SettingsError(f"unknown setting {name} in the {where}{hint}")


def _value_of(
    option: Option, flags: Mapping[str, Any], env: Mapping[str, str], file_env: Mapping[str, str]
) -> tuple[Any, str]:
    if flags.get(option.name) is not None:
        return _checked(option, flags[option.name], "flag"), "flag"
    for origin, source in (("environment", env), ("file", file_env)):
        for name in option.env:
            text = source.get(name)
            if not text and option.secret and source.get(f"{name}_FILE"):
                text = _read_secret(name, source[f"{name}_FILE"])
            if text:
                return _checked(option, _parsed(option, name, text), name), f"{origin} ({name})"
    return option.default, "default"


def _read_secret(name: str, path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise SettingsError(f"{name}_FILE: cannot read {path}: {exc.strerror}") from None


def _parsed(option: Option, name: str, text: str) -> Any:
    try:
        return option.parse(text)
    except ValueError as exc:
        shown = "(secret)" if option.secret else repr(text)
        raise SettingsError(f"{name}={shown} is not usable: {exc}") from None


def _checked(option: Option, value: Any, name: str) -> Any:
    problem = option.check(value) if option.check else None
    if problem:
        raise SettingsError(f"{option.env[0]} ({name}): {value!r} {problem}")
    return value


def _check_together(values: dict[str, Any]) -> None:
    url = values["database_url"]
    if url.startswith(("postgres://", "postgresql://")):
        # The names other tools use; we speak psycopg 3.
        values["database_url"] = url = "postgresql+psycopg://" + url.split("://", 1)[1]
    if url and not url.startswith(("sqlite:", "postgresql+psycopg:")):
        raise SettingsError("DATABASE_URL: use postgresql+psycopg://user:password@host/name, or leave it empty")
    if bool(values["redis_url"]) != url.startswith("postgresql"):
        raise SettingsError("set DATABASE_URL (Postgres) and REDIS_URL together, or neither of them")
    if values["secret_key"] and len(values["secret_key"]) < 16:
        raise SettingsError("SECRET_KEY is shorter than 16 characters; leave it empty and one is made")
    if values["beat_seconds"] * 2 > values["lease_seconds"]:
        raise SettingsError("BRAINSTEM_BEAT_SECONDS must be at most half of BRAINSTEM_LEASE_SECONDS")
    for part in values["worker_threads"]:
        if "=" not in part or not part.split("=", 1)[1].isdigit():
            raise SettingsError(f"BRAINSTEM_WORKER_THREADS: {part!r} is not queue=number")


def ensure_secret_key(settings: Settings) -> str:
    """The signing key: the setting, else HOME/secret.key, made with mode 0600 at first start.

    Raises SettingsError when the key file can be read by others.
    """
    if settings.secret_key:
        return str(settings.secret_key)
    path = settings.home_dir / "secret.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        _write_once(path, secrets.token_urlsafe(48))
    if path.stat().st_mode & 0o077:
        raise SettingsError(f"{path} can be read by others: chmod 600 {path}")
    return path.read_text(encoding="utf-8").strip()


def _write_once(path: Path, text: str) -> None:
    """Whole or not at all: a second process that starts now must not read a file that is still empty."""
    made = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(made, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
    try:
        os.link(made, path)
    except FileExistsError:
        pass  # the other one was first
    finally:
        made.unlink()
