"""`make shots`: photograph every page and judge it.

Starts an embedded server on a temporary home with seeded tasks, opens each page at three widths in light and dark, and
fails on: errors in the console, violations of the content security policy, sideways scrolling, serious findings of
axe-core, layout shift, motion that was refused, controls whose focus can't be seen, and pages that send too much. Writes the pictures, `report.json` and one contact sheet
(`sheet.html`, `sheet.png`) into build/shots, and the pictures of the README into docs/images.

    make shots                                 everything
    make shots ARGS="--only /tasks --theme dark --no-docs"
    make shots ARGS="--few"                    two pictures of each page, wide and light, narrow and dark
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from scripts.album import SEARCHED, Picture, forgotten, pictures  # noqa: E402
from scripts.judging import AXE, LOOK, WATCH, by_axe, by_keyboard, of_the_page  # noqa: E402
from scripts.scene import seed  # noqa: E402
from scripts.scene_talk import outside  # noqa: E402

WIDTHS = {380: 780, 768: 1024, 1440: 900}
BETWEEN = (900, 1100)  # photographed by nobody, but not to scroll sideways either: before and after the menu goes
THEMES = ("light", "dark")
FIRST_KB, LATER_KB = 150, 20
EXEMPT = ("/docs", "/redoc")  # other people's pages: looked at, not judged
CHROME = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
          "--disable-sync", "--no-first-run", "--hide-scrollbars", "--force-color-profile=srgb"]  # fmt: skip


@dataclass
class Shot:
    """One picture in one width and theme, with what is wrong with the page."""

    path: str
    width: int
    theme: str
    file: str = ""
    first_kb: float = 0.0
    later_kb: float = 0.0
    shift: float = 0.0
    controls: int = 0  # whose focus was looked for
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


# -- the server ------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def server(home: Path, **more: str) -> Iterator[str]:
    """`brainstem up` with DEBUG on a free port; its address."""
    from webapp.settings import OPTIONS

    known = {name for option in OPTIONS for name in option.env}
    port = free_port()
    env = {**{name: value for name, value in os.environ.items() if name not in known},
           "BRAINSTEM_HOME": str(home), "PORT": str(port), "DEBUG": "1", "BRAINSTEM_GRACE_SECONDS": "1",
           "BRAINSTEM_RATE_LIMIT": "100000/minute", "PYTHONPATH": str(ROOT), **more}  # fmt: skip
    with (home / "server.log").open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", "webapp.cli", "up"], env=env, stdout=log, stderr=log,
                                   start_new_session=True, cwd=ROOT)  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    try:
        _await(url, process, home / "server.log")
        yield url
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    import requests

    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if requests.get(url + "/api/v1/ready", timeout=2).ok:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise SystemExit("the server did not come up:\n" + log.read_text(errors="replace")[-3000:])


# -- looking ---------------------------------------------------------------------------------------------------------


class Photographer:
    def __init__(self, browser: Any, url: str, fresh: str, out: Path) -> None:
        """fresh: the address of a server that was just installed."""
        self.browser, self.url, self.fresh, self.out = browser, url, fresh, out
        self.axe = AXE.read_text(encoding="utf-8")

    def take(self, picture: Picture | str, width: int, theme: str, *, elsewhere: bool = False) -> Shot:
        """Open a page with an empty cache, judge it, photograph it, open it again and weigh that.
        elsewhere: also look at the open page in the other widths, the shortest way to all of them."""
        if isinstance(picture, str):
            picture = Picture(picture)
        path = picture.path
        shot = Shot(picture.name, width, theme)
        context = self.browser.new_context(viewport={"width": width, "height": WIDTHS.get(width, 900)},
                                           color_scheme=theme, reduced_motion="reduce",
                                           has_touch=width < 500, is_mobile=width < 500)  # fmt: skip
        context.add_init_script(WATCH)
        page = context.new_page()
        page.on(
            "console",
            lambda m: m.type == "error" and not _expected(path, m) and shot.problems.append(f"console: {m.text[:200]}"),
        )
        page.on("pageerror", lambda e: shot.problems.append(f"script: {str(e)[:200]}"))
        weight = _Weight(context.new_cdp_session(page))
        judged, url = not path.startswith(EXEMPT), (self.fresh if picture.fresh else self.url) + path
        try:
            page.goto(url, wait_until="load")
            if not page.evaluate("document.doctype !== null"):
                shot.problems.append("a part of a page: excuse it in scripts/album.py")
            page.wait_for_timeout(1500 if not judged else 350)
            shot.first_kb = weight.take()
            if picture.act is not None:
                self._act(shot, page, picture)
            seen = page.evaluate(LOOK)
            shot.shift = round(seen["shift"], 4)
            shot.file = f"{_slug(picture.name)}-{width}-{theme}.png"
            page.screenshot(path=str(self.out / shot.file), full_page=judged and picture.whole)
            if judged:
                self._judge(shot, page, seen)
                if elsewhere:
                    self._elsewhere(shot, page)
                if theme == THEMES[0]:  # the other one weighs the same
                    weight.take()  # what the first visit asked for late
                    page.goto(url, wait_until="load")
                    page.wait_for_timeout(150)
                    shot.later_kb = weight.take()
                self._weigh(shot)
        finally:
            context.close()
        if not judged:
            shot.notes, shot.problems = shot.problems, []
        return shot

    def _act(self, shot: Shot, page: Any, picture: Picture) -> None:
        """What can't be done is a finding, not the end of the album."""
        page.set_default_timeout(15_000)
        try:
            picture.act(page)
        except Exception as error:
            shot.problems.append(f"can't be done: {str(error)[:600]}")
        page.wait_for_timeout(150)

    def _judge(self, shot: Shot, page: Any, seen: dict[str, Any]) -> None:
        shot.problems += of_the_page(seen)
        page.evaluate(self.axe)
        bad, notes = by_axe(page)
        unseen, shot.controls = by_keyboard(page)
        shot.problems += bad + unseen
        shot.notes += notes

    def _elsewhere(self, shot: Shot, page: Any) -> None:
        """In the other widths nothing sticks out, and in the other theme what is written can be read."""
        other = next(one for one in THEMES if one != shot.theme)
        page.emulate_media(color_scheme=other)
        for width in (one for one in (*WIDTHS, *BETWEEN) if one != shot.width):
            page.set_viewport_size({"width": width, "height": WIDTHS.get(width, 900)})
            over = page.evaluate(LOOK)["over"]
            if over > 0:
                shot.problems.append(f"at {width} px: scrolls sideways by {over} px")
        shot.problems += [f"in the {other}: {text}" for text in by_axe(page, ["color-contrast"])[0]]

    def _weigh(self, shot: Shot) -> None:
        if shot.first_kb > FIRST_KB:
            shot.problems.append(f"first visit {shot.first_kb} kB > {FIRST_KB}")
        if shot.later_kb > LATER_KB:
            shot.problems.append(f"later visit {shot.later_kb} kB > {LATER_KB}")


class _Weight:
    """Bytes on the wire since the last `take()`, in kB."""

    def __init__(self, cdp: Any) -> None:
        self.bytes = 0.0
        cdp.send("Network.enable")
        cdp.on("Network.loadingFinished", self._add)

    def _add(self, event: dict[str, Any]) -> None:
        self.bytes += max(0, event["encodedDataLength"])

    def take(self) -> float:
        taken, self.bytes = self.bytes, 0.0
        return round(taken / 1000, 1)


def _expected(path: str, message: Any) -> bool:
    """The page that is not there answers 404, which Chromium writes into its console."""
    return path == "/nowhere" and "404" in message.text


def _slug(path: str) -> str:
    words = re.sub(r"[0-9a-f-]{32,36}|(?<=shared/task/)[^/ ]+|(?<=shared/)(?!task/)[^/ ]+", "ID", path)
    return re.sub(r"[^A-Za-z0-9]+", "-", words).strip("-")[:60] or "home"


def sheet(browser: Any, out: Path, shots: list[Shot], name: str = "sheet") -> None:
    """All pictures on one page, and that page as one picture."""
    cells = []
    for path in dict.fromkeys(shot.path for shot in shots):
        mine = [shot for shot in shots if shot.path == path]
        pictures = "".join(f'<a href="{s.file}"><img src="{s.file}" class="w{s.width}"></a>' for s in mine)
        said = dict.fromkeys(f"{s.width} {s.theme}: {p}" for s in mine for p in s.problems)
        words = "".join(f'<p class="bad">{_html(text)}</p>' for text in said)
        weight = f"{max(s.first_kb for s in mine):g}/{max(s.later_kb for s in mine):g} kB"
        cells.append(f"<section><h2>{_html(path)} <small>{weight}</small></h2><div>{pictures}</div>{words}</section>")
    (out / f"{name}.html").write_text(
        "<!doctype html><meta charset=utf-8><title>Pages</title><style>body{font:12px sans-serif;margin:12px;"
        "background:#8b8b92;display:grid;grid-template-columns:1fr 1fr;gap:14px}h2{font-size:13px;margin:0 0 4px}"
        "div{display:flex;gap:4px}img{display:block;object-fit:cover;object-position:top left;height:200px}"
        ".w380{width:97px}.w768{width:150px}.w1440{width:320px}p{margin:2px 0}.bad{color:#a00;font-weight:bold}</style>"
        + "".join(cells),
        encoding="utf-8",
    )
    page = browser.new_page(viewport={"width": 2040, "height": 900})
    page.goto((out / f"{name}.html").resolve().as_uri())
    page.screenshot(path=str(out / f"{name}.png"), full_page=True)
    page.close()


def _html(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;")


def docs(browser: Any, url: str, ids: dict[str, str]) -> None:
    """The pictures of the README."""
    folder = ROOT / "docs" / "images"
    folder.mkdir(parents=True, exist_ok=True)
    shown = {"home": "/", "task": f"/tasks/{ids['summary']}", "citation": f"/knowledge/citations/{ids['citation']}",
             "search": SEARCHED, "chat": f"/chat/{ids['chat']}"}  # fmt: skip
    for name, path in shown.items():
        context = browser.new_context(viewport={"width": 1200, "height": 740}, device_scale_factor=1.2,
                                      reduced_motion="reduce")  # fmt: skip
        page = context.new_page()
        page.goto(url + path, wait_until="load")
        page.wait_for_timeout(500)
        page.evaluate("document.querySelector('.nav a[href=\"/ui\"]')?.remove()")  # there only while debugging
        page.screenshot(path=str(folder / f"{name}.png"))
        context.close()
        _in_few_colours(folder / f"{name}.png")


def _in_few_colours(picture: Path) -> None:
    """A third of the bytes; the eye sees no difference where a page has few colours."""
    from PIL import Image

    with Image.open(picture) as whole:
        few = whole.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)


def find_chrome() -> str | None:
    for name in ("chromium", "chromium-browser", "google-chrome", "chrome"):
        found = shutil.which(name)
        if found:
            return found
    return None


@contextmanager
def studio(out: Path, browser: Any = None) -> Iterator[tuple[Photographer, dict[str, str]]]:
    """A seeded server, another one that was just installed, and a browser."""
    from playwright.sync_api import sync_playwright

    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as open_:
        homes = [Path(open_.enter_context(tempfile.TemporaryDirectory(prefix="brainstem-shots-"))) for _ in range(2)]
        world = open_.enter_context(outside(homes[0]))
        fresh, url = open_.enter_context(server(homes[1])), open_.enter_context(server(homes[0], **world.env))
        ids = seed(homes[0], url, world)
        if browser is None:  # one Playwright a process: the tests bring theirs
            play = open_.enter_context(sync_playwright())
            browser = play.chromium.launch(executable_path=find_chrome(), args=CHROME)
            open_.callback(browser.close)
        yield Photographer(browser, url, fresh, out), ids


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="paths that begin with this (/ means the home page only)")
    parser.add_argument("--width", type=int, action="append", help=f"instead of {', '.join(map(str, WIDTHS))}")
    parser.add_argument("--theme", action="append", choices=THEMES)
    parser.add_argument("--few", action="store_true", help="two pictures of each page instead of six")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "shots")
    parser.add_argument("--no-docs", action="store_true", help="leave docs/images as it is")
    given = parser.parse_args()
    with studio(given.out) as (camera, ids):
        if not given.no_docs:  # first, while "just now" is true
            docs(camera.browser, camera.url, ids)
        wanted = [
            one
            for one in pictures(ids)
            if not given.only or any(one.path == o if o == "/" else one.path.startswith(o) for o in given.only)
        ]
        sizes = [(width, theme) for width in given.width or WIDTHS for theme in given.theme or THEMES]
        if given.few:  # the narrow one is looked at in the other widths too
            sizes = [(1440, "light"), (380, "dark")]
        shots = []
        for one, size in ((one, size) for one in wanted for size in sizes):
            shots.append(camera.take(one, *size, elsewhere=given.few and size[0] == 380))
            write_report(shots, given.out)
        sheet(camera.browser, given.out, shots)
    left = forgotten(pictures(ids))
    for path in left:
        print(f"{path} is in no picture: add it to scripts/album.py, or a reason why not")
    return report(shots, given.out) or bool(left)


def write_report(shots: list[Shot], out: Path) -> None:
    (out / "report.json").write_text(json.dumps([asdict(shot) for shot in shots], indent=2), encoding="utf-8")


def report(shots: list[Shot], out: Path) -> int:
    bad = [shot for shot in shots if shot.problems]
    for shot in bad:
        for problem in dict.fromkeys(shot.problems):
            print(f"{shot.path} {shot.width} {shot.theme}: {problem}")
    judged = [shot for shot in shots if not shot.path.startswith(EXEMPT)]
    if judged:
        print(f"{len(shots)} pictures of {len({s.path for s in shots})} pages in {out}; at most "
              f"{max(s.first_kb for s in judged):g} kB first, {max(s.later_kb for s in judged):g} kB later, "
              f"shift {max(s.shift for s in judged):g}; {len(bad)} with problems")  # fmt: skip
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
