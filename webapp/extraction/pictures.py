"""Pictures: their size, and the text in them by tesseract where it is installed. Runs in the child."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
import time
import zipfile
from collections.abc import Iterable, Iterator
from typing import Any

from webapp.core.errors import Invalid, TooLarge
from webapp.extraction.common import damaged

PIXELS = 50_000_000  # drill A26
SMALL = 1000  # pixels; smaller pictures are enlarged, tesseract wants letters of 20 to 30 pixels
SECONDS = 20.0  # of tesseract per file
EMBEDDED, EMBEDDED_SECONDS = 20, 10.0  # pictures inside one document
TINY = 40  # pixels; icons and rules hold no text
MEDIA = ("word/media/", "xl/media/", "ppt/media/")
HOW_TO_INSTALL = "Install tesseract (`apt install tesseract-ocr`) on the server, then upload the picture again."


class NoTesseract(Exception):
    """tesseract is not installed."""


def read_picture(data: bytes) -> dict[str, Any]:
    """Text in a picture. Raises Invalid with code `ocr_missing` without tesseract, TooLarge beyond PIXELS."""
    picture = _open(data)
    meta = {"width": picture.width, "height": picture.height}
    try:
        text = recognise(picture, SECONDS)
    except NoTesseract as error:
        raise Invalid("Reading text in pictures needs tesseract, which is not installed.", code="ocr_missing",
                      suggestion=HOW_TO_INSTALL) from error  # fmt: skip
    return {"text": text, "method": "tesseract", "meta": meta,
            "warnings": ["The text was recognised from a picture and may hold mistakes."] if text.strip() else []}  # fmt: skip


def available() -> bool:
    return shutil.which("tesseract") is not None


def _open(data: bytes) -> Any:
    """Only the head is read here: a picture that is too large is never unpacked."""
    from PIL import Image, UnidentifiedImageError

    Image.MAX_IMAGE_PIXELS = None  # judged below, with an answer of ours
    try:
        picture = Image.open(io.BytesIO(data))
        size = picture.width * picture.height
    except MemoryError:
        raise
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, EOFError, KeyError, TypeError) as error:
        raise damaged("picture") from error
    if size > PIXELS:
        raise TooLarge(f"The picture has {size / 1e6:,.0f} million pixels; {PIXELS // 10**6} million are read.",
                       suggestion="Scale it down and try again.")  # fmt: skip
    return picture


def recognise(picture: Any, seconds: float) -> str:
    """What tesseract reads, lines as they stand. Raises NoTesseract; "" when it finds nothing or takes too long."""
    program = shutil.which("tesseract")
    if not program:
        raise NoTesseract
    try:
        shown = picture.convert("RGBA") if picture.mode in ("P", "LA", "PA") else picture
        if shown.mode == "RGBA":
            shown = _on_white(shown)
        shown = shown.convert("L")
        if 0 < max(shown.size) < SMALL:
            shown = shown.resize((shown.width * 2, shown.height * 2))
        prepared = io.BytesIO()
        shown.save(prepared, "PNG", compress_level=1)
    except MemoryError:
        raise
    except Exception as error:  # broken pictures raise anything
        raise damaged("picture") from error
    try:
        done = subprocess.run([program, "stdin", "stdout"], input=prepared.getvalue(), stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, timeout=seconds, check=False)  # fmt: skip
    except (subprocess.TimeoutExpired, OSError):
        return ""
    lines = done.stdout.decode("utf-8", "replace").replace("\f", "").splitlines()
    # Textures read as single signs; a line of text has at least one run of two.
    return "\n".join(line for line in lines if not line.strip() or re.search(r"\w\w", line)).strip()


def _on_white(picture: Any) -> Any:
    from PIL import Image

    ground = Image.new("RGB", picture.size, "white")
    ground.paste(picture, mask=picture.getchannel("A"))
    return ground


class Embedded:
    """Text of the pictures inside one document: at most EMBEDDED of them and EMBEDDED_SECONDS altogether."""

    def __init__(self) -> None:
        self.left, self.deadline = EMBEDDED, time.monotonic() + EMBEDDED_SECONDS

    def texts(self, found: Iterable[bytes]) -> list[str]:
        """Nothing without tesseract, and what cannot be read is left out."""
        shown: list[str] = []
        for data in found if available() else ():
            seconds = self.deadline - time.monotonic()
            if self.left <= 0 or seconds < 0.5:
                break
            self.left -= 1
            try:
                picture = _open(data)
                if min(picture.size) >= TINY and (text := recognise(picture, seconds)):
                    shown.append(text)
            except (Invalid, TooLarge):
                continue
        return shown


def of_archive(archive: zipfile.ZipFile) -> Iterator[bytes]:
    """The pictures of an Office document in the order of their names."""
    for entry in sorted(archive.infolist(), key=lambda one: one.filename):
        if entry.filename.startswith(MEDIA) and not entry.filename.lower().endswith((".emf", ".wmf", ".svg")):
            yield archive.read(entry)
