"""The documented client class, unchanged, on our page: by socket and by polling (M001-M017)."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import requests
from playwright.sync_api import expect

from tests.browser.conftest import ENV, FLAGS, PATIENCE, Watched
from tests.conftest import Server
from tests.fakes.model_server import ModelServer
from tests.fakes.tls_proxy import TlsProxy
from tests.openai_api.conftest import filled

CLIENT = "omeruta-brain-client.js"
QUESTION = "Who built the north light?"
BELL = "When was the fog bell rung for the first time?"
ANSWER = "**Marta Holm** built it in *1847* [1].\nSee `the log` <script>window.broken = 1</script><img src=x onerror='window.broken = 1'>"
GONE = [r"WebSocket connection", r"ERR_CONNECTION", r"Polling error"]


@dataclass
class Stage:
    """Pages on which a client class runs, and the model server that answers it."""

    server: Server
    models: ModelServer

    def page_of(self, name: str, text: str) -> str:
        """A page of somebody's site."""
        html = f"<html><head><title>{name}</title></head><body><main><h1>{name}</h1><p>{text}</p></main></body></html>"
        self.models.site.page(f"/{name}", html.encode(), {"Content-Type": "text/html"})
        return f"http://127.0.0.1:{self.models.site.port}/{name}"


def _stage(home: Path, client: Path | None) -> Iterator[Stage]:
    if client is not None:
        (home / "clients").mkdir(parents=True)
        shutil.copy(client, home / "clients" / CLIENT)
    with ModelServer() as models:
        server = Server(home, {**ENV, **models.env}).start()
        try:
            filled(server.url, {})
            yield Stage(server, models)
        finally:
            models.go()
            server.kill()


@pytest.fixture(scope="module")
def stage(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """With the documented file, byte for byte."""
    client = shared / "contract" / "clients" / CLIENT
    if not client.is_file():
        pytest.skip("the documented client is not here")
    yield from _stage(tmp_path_factory.mktemp("agents"), client)


@pytest.fixture(scope="module")
def own_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """With our own class."""
    yield from _stage(tmp_path_factory.mktemp("own-agents"), None)


@pytest.fixture
def classic(stage: Stage, make_tab: Callable[..., Watched]) -> Watched:
    return _open(stage, make_tab)


def _open(stage: Stage, make_tab: Callable[..., Watched]) -> Watched:
    stage.models.says(ANSWER)
    stage.models.go()
    tab = make_tab(stage.server)
    page = tab.open("/agents/classic")
    expect(page.locator("#connection-status")).to_have_text("Connected")
    return tab


def say(page: Any, text: str = QUESTION, **options: Any) -> str:
    """As a program on the page does it; the conversation's name."""
    return str(page.evaluate("([text, options]) => window.brainClient.startChat(text, options)", [text, options]))


def offline(page: Any) -> None:
    """The class polls when its socket is not open; it is not asked to open another one."""
    page.evaluate("""() => new Promise((done) => {
        window.brainClient.socket.onclose = done;
        window.brainClient.socket.close();
    })""")


def test_the_file_is_served_unchanged(stage: Stage, shared: Path) -> None:
    served = requests.get(f"{stage.server.url}/agents/classic/client.js", timeout=15)
    assert served.content == (shared / "contract" / "clients" / CLIENT).read_bytes()
    assert served.headers["Content-Type"].startswith("text/javascript")


def test_the_page_has_what_the_class_needs(classic: Watched) -> None:
    """M001, M002, C48."""
    page = classic.page
    expect(page.locator("#main-chat-area")).to_have_count(1)
    expect(page.locator("#connection-status")).to_have_class("connection-status success")
    policy = requests.get(classic.url + "/agents/classic", timeout=15).headers["Content-Security-Policy"]
    assert "style-src-attr 'unsafe-inline'" in policy
    assert "unsafe-inline" not in requests.get(classic.url + "/", timeout=15).headers["Content-Security-Policy"]


def test_a_chat_by_socket(stage: Stage, classic: Watched) -> None:
    """M004-M008, M013."""
    page = classic.page
    stage.models.hold()
    chat = page.locator(f"#chat-{say(page)}")
    expect(chat.locator(".user-message .message-text")).to_have_text(QUESTION)
    typing = chat.locator(".typing-indicator")
    expect(typing.locator(".typing-dot")).to_have_count(3)
    bar = chat.locator(".progress-fill")
    expect(bar).to_have_attribute("aria-valuenow", "80")
    expect(bar).to_have_attribute("style", "width: 80%;")
    expect(chat.locator(".typing-status")).to_have_text("Generating response...")
    stage.models.go()
    expect(typing).to_have_count(0)
    answer = chat.locator(".ai-message")
    expect(answer.locator("strong")).to_have_text("Marta Holm")
    expect(answer.locator("em")).to_have_text("1847")
    expect(answer.locator("code")).to_have_text("the log")
    expect(answer.locator(".message-text br")).to_have_count(1)
    expect(answer.locator(".message-text")).to_contain_text("<script>window.broken = 1</script>")
    facts = answer.locator(".metadata-item")
    expect(facts.nth(0)).to_contain_text("openai:")
    expect(facts.nth(1)).to_contain_text(re.compile("research|analysis|qa|general"))
    expect(facts.nth(2)).to_have_text(re.compile(r"📚 [1-9]\d* sources"))
    expect(facts.nth(3)).to_have_text(re.compile(r"⚡ \d+\.\d\ds"))
    expect(answer.locator(".confidence-text")).to_have_text(re.compile(r"\d+% confident"))
    expect(chat.locator(".agent-selection")).to_have_count(1)
    expect(chat.locator(".agent-selection")).to_have_text(
        re.compile(r"(Research|Analysis|Q&A|General) Agent\s+selected\s+\(\d+% confidence\)")
    )
    assert page.evaluate("window.broken === undefined")


@pytest.mark.parametrize(("agent", "icon", "name"), [
    ("research", "🔬", "Research Agent"), ("analysis", "📊", "Analysis Agent"), ("qa", "❓", "Q&A Agent"),
    ("general", "🤖", "General Agent"), ("tinyllama", "🦙", "TinyLlama")])  # fmt: skip
def test_a_named_agent_has_its_badge(classic: Watched, agent: str, icon: str, name: str) -> None:
    """M008, M021."""
    chat = classic.page.locator(f"#chat-{say(classic.page, agentType=agent)}")
    expect(chat.locator(".ai-message")).to_have_count(1)
    expect(chat.locator(".agent-selection")).to_have_count(1)
    expect(chat.locator(".agent-selection")).to_have_text(
        re.compile(rf"{icon}\s+{name}\s+selected\s+\(100% confidence\)")
    )
    expect(chat.locator(".ai-message .message-avatar")).to_have_text(icon)


def test_two_chats_at_once(stage: Stage, classic: Watched) -> None:
    """M011."""
    page = classic.page
    stage.models.reply = lambda body: ["About one." if QUESTION in str(body["messages"][-1]) else "About two."]
    stage.models.hold()
    first, second = (page.locator(f"#chat-{say(page, question)}") for question in (QUESTION, BELL))
    for chat in (first, second):
        expect(chat.locator(".typing-status")).to_have_text("Generating response...")
    stage.models.go()
    expect(first.locator(".ai-message .message-text")).to_contain_text("About one.")
    expect(second.locator(".ai-message .message-text")).to_contain_text("About two.")
    expect(page.locator(".typing-indicator")).to_have_count(0)


def test_by_polling_as_well(stage: Stage, classic: Watched) -> None:
    """M012, C14: one badge."""
    page = classic.page
    offline(page)
    stage.models.hold()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url) if "/status/" in request.url else None)
    chat = page.locator(f"#chat-{say(page)}")
    expect(chat.locator(".progress-fill")).to_have_attribute("aria-valuenow", "80")
    stage.models.go()
    expect(chat.locator(".ai-message strong")).to_have_text("Marta Holm")
    expect(chat.locator(".agent-selection")).to_have_count(1)
    expect(chat.locator(".typing-indicator")).to_have_count(0)
    expect(chat.locator(".confidence-text")).to_have_count(1)
    assert len(asked) >= 2


@pytest.mark.parametrize("by", ["socket", "polling"])
def test_a_failure_ends_the_indicator(stage: Stage, classic: Watched, by: str) -> None:
    """M010, C49."""
    page = classic.page
    if by == "polling":
        offline(page)
    stage.models.fails(400)
    chat = page.locator(f"#chat-{say(page)}")
    expect(chat.locator(".error-message .message-text")).to_contain_text("unwell")
    expect(chat.locator(".error-message .message-time")).not_to_be_empty()
    expect(chat.locator(".typing-indicator")).to_have_count(0)


def test_an_empty_message_ends_the_indicator(classic: Watched) -> None:
    chat = classic.page.locator(f"#chat-{say(classic.page, ' ')}")
    expect(chat.locator(".error-message .message-text")).to_have_text("Message is required")
    expect(chat.locator(".typing-indicator")).to_have_count(0)


def test_a_poll_without_end_times_out(classic: Watched) -> None:
    """M010: 120 polls of a task that nobody has, their pauses taken out."""
    page = classic.page
    page.evaluate("""() => {
        const real = window.setTimeout;
        window.setTimeout = (action, wait) => real(action, 0);
        window.brainClient.displayUserMessage("Lost", "lost");
        window.brainClient.showTypingIndicator("lost", "...");
        window.brainClient.pollTaskStatus("018f0000-none", "lost");
    }""")
    expect(page.locator("#chat-lost .error-message .message-text")).to_have_text("Request timed out. Please try again.")
    expect(page.locator("#chat-lost .typing-indicator")).to_have_count(0)


def test_quality_is_shown_and_does_not_throw(classic: Watched) -> None:
    """M017, C13: the class has no such method; our script adds it."""
    page = classic.page
    name = "quality"
    page.evaluate(
        """(name) => window.brainClient.socket.send(JSON.stringify({
        action: "start_chat", message: "Who built the north light?", conversation_id: name, include_quality: true }))""",
        name,
    )
    expect(page.locator(f"#chat-{name} .quality-assessment")).to_have_text(
        re.compile(r"Quality: \d+ verified, \d+ weak, \d+ unsupported")
    )


def test_research_and_analysis_end_with_an_answer(stage: Stage, classic: Watched) -> None:
    """M014, M009."""
    page = classic.page
    text = "The south light was built in 1902 by Ola Berg. Its lamp burns paraffin and its tower is thirty metres high."
    other = "The south light was built in 1903. Ola Berg drew the plans for the tower, which is thirty metres high."
    urls = [stage.page_of("south", text * 3), stage.page_of("tower", other * 3)]
    stage.models.says("The south light was built in 1902 [1].")
    name = page.evaluate("(urls) => window.brainClient.analyzeContent(urls)", urls)
    chat = page.locator(f"#chat-{name}")
    expect(chat.locator(".user-message .message-text")).to_have_text("📊 Analyzing 2 sources")
    expect(chat.locator(".ai-message .message-text")).to_contain_text("agree", timeout=60_000)
    expect(chat.locator(".agent-selection")).to_have_text(re.compile("Analysis Agent"))
    name = page.evaluate("() => window.brainClient.startResearch('the south light', { maxSources: 2 })")
    chat = page.locator(f"#chat-{name}")
    expect(chat.locator(".user-message .message-text")).to_have_text("🔍 Research: the south light")
    expect(chat.locator(".ai-message .message-text")).to_contain_text("1902", timeout=90_000)
    expect(chat.locator(".agent-selection")).to_have_text(re.compile("Research Agent"))
    expect(page.locator(".typing-indicator")).to_have_count(0)


def test_a_connection_lost_and_restored(stage: Stage, make_tab: Callable[..., Watched]) -> None:
    """M003, M016: the server goes away in mid-answer; the same page gets the answer afterwards, once."""
    tab = _open(stage, make_tab)
    tab.allowed += GONE
    page = tab.page
    stage.models.hold()
    chat = page.locator(f"#chat-{say(page)}")
    expect(chat.locator(".typing-status")).to_have_text("Generating response...")
    page.evaluate("window.sameDocument = true")
    stage.server.stop()
    expect(page.locator("#connection-status")).to_have_text("Disconnected")
    expect(page.locator("#connection-status")).to_have_class("connection-status error")
    stage.models.go()
    stage.server.start()
    expect(page.locator("#connection-status")).to_have_text("Connected")
    expect(chat.locator(".ai-message strong")).to_have_text("Marta Holm", timeout=40_000)
    expect(chat.locator(".ai-message")).to_have_count(1)
    expect(chat.locator(".agent-selection")).to_have_count(1)
    expect(page.locator(".typing-indicator")).to_have_count(0)
    assert page.evaluate("window.sameDocument === true")


def test_our_own_class_does_the_same(own_stage: Stage, make_tab: Callable[..., Watched]) -> None:
    tab = _open(own_stage, make_tab)
    page = tab.page
    page.get_by_role("textbox", name="Message").fill(QUESTION)
    page.keyboard.press("Enter")
    expect(page.locator(".ai-message strong")).to_have_text("Marta Holm")
    expect(page.locator(".ai-message .message-text")).to_contain_text("<script>")
    expect(page.locator(".agent-selection")).to_have_count(1)
    offline(page)
    page.get_by_role("textbox", name="Message").fill("And when?")
    page.get_by_role("button", name="Ask").click()
    expect(page.locator(".ai-message")).to_have_count(2)
    expect(page.locator(".agent-selection")).to_have_count(2)
    expect(page.locator(".typing-indicator")).to_have_count(0)


NAME = "brain.example"  # an address of this machine is trusted as it is, and its ws:// is left alone


@pytest.fixture
def far_context(browser: Any) -> Iterator[Any]:
    """A browser that knows this machine by a name, and trusts a certificate that nobody signed."""
    path = os.environ.get("TEST_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    own = browser.browser_type.launch(
        executable_path=path, args=[*FLAGS, f"--host-resolver-rules=MAP {NAME} 127.0.0.1"]
    )
    context = own.new_context(ignore_https_errors=True)
    context.set_default_timeout(PATIENCE)
    yield context
    own.close()


def test_behind_https_the_socket_is_encrypted(
    stage: Stage, far_context: Any, make_server: Callable[..., Server], make_tab: Callable[..., Watched], tmp_path: Path,
    shared: Path,
) -> None:  # fmt: skip
    """C47: the class opens ws:// whatever the page is; the page's policy makes it wss://."""
    home = tmp_path / "behind"
    (home / "clients").mkdir(parents=True)
    shutil.copy(shared / "contract" / "clients" / CLIENT, home / "clients" / CLIENT)
    server = make_server(None, start=False, home=home)
    with TlsProxy(tmp_path, server.port) as proxy:
        url = f"https://{NAME}:{proxy.port}"
        server.env |= {**ENV, **stage.models.env, "BRAINSTEM_PROXY_HOPS": "1", "BRAINSTEM_PUBLIC_URL": url}
        server.start()
        tab = make_tab(server, context=far_context)
        tab.url = url
        page, person = tab.page, {"username": "dora", "password": "correct horse battery"}
        made = requests.post(f"{server.url}/api/auth/register/", json=person, headers={"Host": NAME}, timeout=15)
        assert made.status_code == 201, made.text
        tab.open("/login?next=/agents/classic")
        page.get_by_label("Username").fill(person["username"])
        page.get_by_label("Password", exact=True).fill(person["password"])
        page.get_by_role("button", name="Sign in").click()
        expect(page.locator("#connection-status")).to_have_text("Connected")
        assert proxy.upgrades >= 1
        stage.models.says("Hello.")
        chat = page.locator(f"#chat-{say(page, 'Hello?', agentType='general', useContext=False)}")
        expect(chat.locator(".ai-message .message-text")).to_contain_text("Hello.")
        offline(page)
        chat = page.locator(f"#chat-{say(page, 'Hello again?', useContext=False)}")
        expect(chat.locator(".ai-message .message-text")).to_contain_text("Hello.")
