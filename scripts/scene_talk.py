"""The talk in the pictures: conversations, models, research. The product's own kinds do all of it; what stands outside the
product in life (a model's server, other people's pages) is played by the fakes of the tests."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from scripts.scene_table import ledger
from tests.fakes import tiny_gguf
from tests.fakes.openai_server import OpenAIServer, Piece
from tests.fakes.small_site import SmallSite

MODEL = "llama3.2:3b"
PACE = 0.012  # seconds a piece of an answer takes, so that the speeds on the pages are those of a small model
WINTER = "What does a ship pay in winter?"
LOG = "How often did the keeper of the north light write down fog?"
STORM = "What should a ship do that meets a storm and fog at once?"
NOBODY = "Who won the chess championship of 1972?"
BROKEN = "On how many days of a year does fog close the entrance?"
TOPIC = "fog bells"

# What the model says, piece by piece; {name} is the number of the source that holds the words of SOURCES.
SOURCES = {"winter": "pays the winter fee", "table": "| Length |", "tide": "as the gauge shows", "fog": "heard twice",
           "gates": "gates of the inner basin"}  # fmt: skip
SAID = {
    WINTER: """From November to March a ship pays the **winter fee** [{winter}]. It depends on the length [{table}]:

| Length | Fee a day | Winter fee |
| --- | --- | --- |
| 6 to 12 m | 14 crowns | 7 crowns |
| over 12 m | 31 crowns | 18 crowns |

The board may lower it for ships under repair [{winter}]. Ships that paint their hull in spring get the money back [{winter}].""",
    STORM: """A ship that meets fog at the outer buoy waits until the bell is heard twice [{fog}]. In a storm from the
north-west the water stands up to a metre above the table [{gates}]. The gates of the inner basin are closed when the gauge
shows three metres and twenty [{gates}], so a ship that waits too long has to stay outside: at the outer buoy, with its
bow to the wind, until the keeper has wound the clockwork once more and the bell is heard again""",
}
GUIDE = "How a harbour guides ships through fog"
PLAN = """Title: How a harbour guides ships through fog
When the bell is rung | How a ship knows where it is.
What a ship pays for it | The winter fee, and who is let off."""
SECTIONS = {
    "When the bell is rung": """Fog is no surprise in a harbour that keeps a book of it. A ship that meets fog at the outer buoy waits
until the bell is heard twice [{fog}]. That is all a captain has to know, and it fits on a card beside the wheel. Fog closes
the entrance on about sixty days of a year, most of them in May and June [{fog}]. The bell was a gift of the king of a
neighbouring country [{fog}]. Whoever hears it once counts to twenty and listens again before anything is decided on deck. The
keeper of the north light wrote down every one of them for thirty-one years [{fog}]. So trust the bell, keep the lamp lit, and
give the ship behind you the time that you would like to have.""",
    "What a ship pays for it": """Safety has its price, but not for everybody. A ship that stays from November to March pays the winter
fee [{winter}]. The board may lower it for ships under repair [{winter}]. The merchants of the town paid for the quay with a
tax on salt and on fish [{winter}]. What is left goes into wick, oil and the spring of the clockwork, and nobody on the quay
has complained about it for years. Ask at the office of the harbour master before the first of November, bring the papers of
the ship, and the matter is settled in ten minutes.""",
}
QUESTIONS = "1. What is a fog bell?\n2. How often is a fog bell rung?\n3. Who winds the clockwork of a fog bell?"


def _page(title: str, *sentences: str, links: str = "") -> bytes:
    body = "".join(f"<p>{one}</p>" for one in sentences)
    return (f"<!doctype html><html lang=en><head><title>{title}</title></head><body><main><article><h1>{title}</h1>{body}"
            f"</article></main><nav>{links}</nav></body></html>").encode()  # fmt: skip


ABROAD = {
    "/wiki/Fog_bells": _page(
        "Fog bells", "A fog bell is a bell at the entrance of a harbour that is rung by a clockwork while there is fog.",
        "The clockwork of a fog bell runs for 8 hours and is wound by the keeper before midnight.",
        "Most fog bells are rung 4 times a minute, so that a ship can tell them from the bell of a church."),
    "/bells/clockworks.html": _page(
        "Clockworks of fog bells", "The clockwork of a fog bell runs for 12 hours and is wound by the keeper before midnight.",
        "A fog bell is a bell at the entrance of a harbour that is rung by a clockwork while there is fog.",
        "Its spring is made of steel and replaced every 9 years."),
    "/list.html": _page("Signals on the coast", "Bells, horns and lights, and where to read about them.",
                        links='<a href="/bells/clockworks.html">Clockworks of fog bells</a>'),
}  # fmt: skip


class Outside:
    """A model's server and a web site on this machine; `env` lets a server use them."""

    def __init__(self, home: Path) -> None:
        self.models, self.web = OpenAIServer(MODEL), SmallSite()
        self.models.script = self._say
        self.web.pages.update(ABROAD)
        (home / "models").mkdir()
        tiny_gguf.write(home / "models" / "random-tiny.gguf")

    @property
    def engine(self) -> str:
        return f"openai:{MODEL}@quay"

    @property
    def env(self) -> dict[str, str]:
        return {"BRAINSTEM_MODEL_SERVERS": f"quay=http://{self.models.host}/v1,attic=http://127.0.0.1:9/v1",
                "BRAINSTEM_ALLOW_HOSTS": "127.0.0.1", "BRAINSTEM_MODEL": self.engine,
                "BRAINSTEM_RESEARCH_SOURCES": f"{self.web.url('/wiki/')}{{topic}},{self.web.url('/list.html')}"}  # fmt: skip

    def _say(self, asked: dict[str, Any]) -> Iterable[Piece]:
        said = asked["messages"][-1]["content"]
        question = said.rpartition("Question: ")[2].strip()
        if question == BROKEN:
            return _broken()
        if said.startswith("Topic:"):
            text = QUESTIONS
        elif "ummar" in said and "<text-" in said:
            text = _summed(said)
        elif "Plan a text" in said:
            text = PLAN
        elif heading := next((one for one in SECTIONS if f"now, “{one}”" in said), ""):
            return _steadily(
                SECTIONS[heading].format(**{name: _number(said, words) for name, words in SOURCES.items()}), 0.001
            )
        elif "hello" in said:
            text = "Hello from the quay, where the bell is quiet today and the lamp is trimmed."
        elif question in SAID:
            text = SAID[question].format(**{name: _number(said, words) for name, words in SOURCES.items()})
        else:
            text = _first_source(said)
        return _slowly(text) if question == STORM else _steadily(text)


def _number(shown: str, words: str) -> int:
    """Of the source in the prompt that holds these words."""
    place = shown.find(words)
    return int(re.findall(r'number="(\d+)"', shown[: max(0, place)] or 'number="1"')[-1])


def _first_source(shown: str) -> str:
    """What a small model does with a question nobody wrote an answer for: it repeats the first source's sentence."""
    text = re.search(r'number="1"[^>]*>\n(.*?)\n</source', shown, re.S)
    sentences = re.findall(r"[A-Z][^.#|\n]{25,}(?:\n[^.#|\n]+)?\.", text[1] if text else "")
    return f"{' '.join(sentences[0].split())} [1]." if sentences else "I do not know."


def _summed(said: str) -> str:
    """The first two sentences of each text, and one that nobody wrote."""
    texts = re.findall(r"<text-\w+ [^>]*>\n(.*?)\n</text", said, re.S)
    first = [" ".join(re.findall(r"[A-Z][^.\n]{20,}\.", text)[:2]) for text in texts]
    return f"{' '.join(first)} Every harbour of the world keeps such a book today."


def _pieces(text: str) -> list[str]:
    return re.findall(r"\S+\s*", text)


def _steadily(text: str, pace: float = PACE) -> Iterator[Piece]:
    for piece in _pieces(text):
        yield pace
        yield piece


def _slowly(text: str) -> Iterator[Piece]:
    """Half of it at once, the rest so slowly that the pictures are taken while it is written."""
    pieces = _pieces(text)
    for n, piece in enumerate(pieces):
        yield PACE if n < len(pieces) // 2 else 6.0
        yield piece


def _broken() -> Iterator[Piece]:
    yield "Fog closes "
    raise ConnectionResetError


@contextmanager
def outside(home: Path) -> Iterator[Outside]:
    made = Outside(home)
    with ExitStack() as open_:
        open_.enter_context(made.models)
        open_.enter_context(made.web)
        yield made


# -- what is done ----------------------------------------------------------------------------------------------------


class Talk:
    """Asks through the API and waits for the ends; name -> id of everything a picture is of."""

    def __init__(self, scene: Any, url: str, shelf: str, out: Outside) -> None:
        import requests

        self.scene, self.url, self.shelf, self.out, self.ids = scene, url, shelf, out, dict[str, str]()
        self.http, self.browser = requests, requests.Session()  # a cookie would have to come with a token of its page

    def all(self) -> None:
        research, tried = self.research(), self.tried()
        self.conversations()
        self.wait(tried)
        self.wait(research)  # the comparison would store its pages first
        self.wait(self.comparison())
        self.writing()
        self.pull()

    def post(self, path: str, **given: Any) -> dict[str, Any]:
        answer = self.http.post(self.url + path, timeout=60, **given)
        answer.raise_for_status()
        return dict(answer.json())

    def wait(self, task_id: str) -> None:
        self.scene._wait_done(task_id)

    def ask(self, text: str, conversation: str | None = None, *, wait: bool = True, **more: Any) -> dict[str, Any]:
        if conversation is None:
            conversation = self.post("/api/v1/conversations", json={})["id"]
        more = {"collections": [self.shelf], **more}
        made = self.post(f"/api/v1/conversations/{conversation}/messages", json={"text": text, **more})
        if wait:
            self.wait(made["task_id"])
        return {**made, "conversation": conversation}

    def conversations(self) -> None:
        """One with a model and a table, one without any, one that was declined, one whose model broke off; older ones in the list."""
        winter = self.ask(WINTER)
        self.ids |= {"chat": winter["conversation"], "answer": winter["answer"]["id"]}
        again = self.post(
            f"/api/v1/conversations/messages/{winter['answer']['id']}/regenerate", json={"engine": "extractive"}
        )
        self.wait(again["task_id"])
        self.post(f"/api/v1/conversations/messages/{winter['answer']['id']}/show")
        note = ("files", ("Winter list.txt", b"The ship Hope stays from November to March and pays 18 crowns a day."))
        self.post(f"/api/v1/conversations/{winter['conversation']}/files", files=[note])
        self.ids["extractive"] = self.ask(LOG, engine="extractive")["conversation"]
        self.ids["declined"] = self.ask(NOBODY)["conversation"]
        self.ids["broken"] = self.ask(BROKEN, wait=False)["conversation"]
        shared = self.post(f"/api/v1/conversations/{winter['conversation']}/share")["url"]
        self.ids["shared"] = shared.rpartition("/")[2]
        change = {"title": "Fees in winter", "pinned": True}
        self.http.patch(
            f"{self.url}/api/v1/conversations/{winter['conversation']}", json=change, timeout=60
        ).raise_for_status()
        self.older()

    def older(self) -> None:
        import webapp.agents.models  # a conversation's row points at its table
        import webapp.knowledge.models  # noqa: F401  and at this one
        from webapp.chat.models import Conversation

        titles = ["Buoys at the entrance", "Who paid for the quay", "Tides of next week", "Storm of the third of February",
                  "Compare the fees of 2019 and 2024, with the exceptions for fishing boats of the town", "Ledger: largest sums",
                  "Minutes of the board", "A word for “Winterlager”", "Night watch", "Lost boats"]  # fmt: skip
        for n, title in enumerate(titles):
            made = self.post("/api/v1/conversations", json={"title": title})["id"]
            with self.scene.rt.unit() as db:
                row = db.get_one(Conversation, made)
                row.last_message_at = row.created_at = self.scene.now - timedelta(hours=5 + 19 * n)

    def research(self) -> str:
        return self.task("research", "research.run", topic=TOPIC, include_quality=True)

    def comparison(self) -> str:
        urls = [self.out.web.url(path) for path in ("/wiki/Fog_bells", "/bells/clockworks.html")]
        return self.task("comparison", "content.analyze", urls=urls)

    def writing(self) -> None:
        """A text from the shelf with checked sentences, the outline there is without a model, questions to given pages, a
        summary of two pages."""
        shelf, urls = self.shelf, [self.out.web.url(path) for path in ("/wiki/Fog_bells", "/bells/clockworks.html")]
        ends = [
            self.task("written", "content_generation", topic=GUIDE, content_type="blog_post", length=230, tone="friendly",
                      keywords=["fog", "harbour", "lamp", "compass"], collection_id=shelf),
            self.task("digest", "content_generation", topic="the winter fee", content_type="article", engine="extractive",
                      collection_id=shelf),
            self.task("questions", "research", topic=TOPIC, engine="extractive", urls=[*urls, self.out.web.url("/gone.html")],
                      questions=["How long does the clockwork of a fog bell run?", NOBODY]),
            self.task("two_pages", "summary", urls=[*urls, self.out.web.url("/gone.html")], max_length=90),
        ]  # fmt: skip
        ends.append(self.task("table", "data_analysis", text=ledger()))
        for one in ends:
            self.wait(one)

    def tried(self) -> str:
        """By the form of the models page: programs have other ways."""
        token = re.search(
            r'name="csrf-token" content="([^"]+)"', self.browser.get(self.url + "/models", timeout=60).text
        )
        given = {
            "csrf_token": token[1] if token else "",
            "prompt": "Say hello in one sentence.",
            "model": self.out.engine,
        }
        shown = self.browser.post(self.url + "/models/try", data=given, timeout=60)
        shown.raise_for_status()
        self.ids["tried"] = re.findall(r"[?&]try=([0-9a-f-]+)", shown.url)[0]
        return self.ids["tried"]

    def task(self, name: str, kind: str, **params: Any) -> str:
        made = self.post("/api/v1/utils/ai-tasks/", json={"task_type": kind, "task_config": params})
        self.ids[name] = made["id"]
        return str(made["id"])

    def pull(self) -> None:
        """Two gigabytes that are on their way."""
        self.scene.put("pull", "running", "Pull tinyllama", 41, kind="models.pull", progress=37, quiet=-1e5,
                       params={"model": "tinyllama", "server": ""}, queue="maintenance",
                       message="247 of 669 MB, 6.1 MB a second", said=("Asking the hub",))  # fmt: skip

    def streaming(self) -> None:
        """Last of all, and photographed first: an answer has five minutes."""
        made = self.ask(STORM, wait=False)
        self.ids["streaming"] = made["conversation"]
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            answer = self.http.get(
                f"{self.url}/api/v1/conversations/messages/{made['answer']['id']}", timeout=30
            ).json()
            if len(answer["content"]) > 200:
                return
            time.sleep(0.1)
