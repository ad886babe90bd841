"""Recordings: what they are by their bytes, how long, how large; damaged ones are refused, never believed."""

from __future__ import annotations

import io
import struct
import wave
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from webapp.core import errors
from webapp.extraction.media import media_type
from webapp.extraction.service import RECORDINGS, extract


def wav(seconds: float = 2.5, rate: int = 8000) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(int(seconds * rate) * 2))
    return out.getvalue()


def mp3(frames: int = 115, tags: dict[str, str] | None = None) -> bytes:
    """MPEG-1 layer III, 128 kbit/s, 44.1 kHz: 417 bytes and 1152 samples a frame."""
    held = b"".join(
        name.encode() + struct.pack(">I", len(text.encode()) + 1) + b"\0\0\x03" + text.encode()
        for name, text in (tags or {}).items()
    )
    size = bytes((len(held) >> shift) & 0x7F for shift in (21, 14, 7, 0))
    head = b"ID3\x03\0\0" + size + held if tags else b""
    return head + (b"\xff\xfb\x90\x00" + bytes(413)) * frames


def element(ident: int, body: bytes) -> bytes:
    name = ident.to_bytes((ident.bit_length() + 7) // 8, "big")
    return name + (0x10000000 | len(body)).to_bytes(4, "big") + body


def webm(seconds: float = 95.5, width: int = 640, height: int = 360) -> bytes:
    info = element(0x1549A966, element(0x2AD7B1, (1_000_000).to_bytes(3, "big"))
                   + element(0x4489, struct.pack(">d", seconds * 1000)))  # fmt: skip
    video = element(0xE0, element(0xB0, width.to_bytes(2, "big")) + element(0xBA, height.to_bytes(2, "big")))
    tracks = element(0x1654AE6B, element(0xAE, element(0xD7, b"\1") + video))
    return element(0x1A45DFA3, element(0x4282, b"webm")) + element(
        0x18538067, info + tracks + element(0x1F43B675, b"x" * 50)
    )


def avi() -> bytes:
    head = struct.pack("<14I", 40_000, 0, 0, 0, 250, 0, 1, 0, 320, 240, 0, 0, 0, 0)
    body = b"AVI LIST" + struct.pack("<I", 4 + 8 + len(head)) + b"hdrlavih" + struct.pack("<I", len(head)) + head
    return b"RIFF" + struct.pack("<I", len(body)) + body


def box(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + name + body


def mp4(seconds: int = 12, width: int = 1280, height: int = 720) -> bytes:
    mvhd = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, seconds * 1000) + bytes(80))
    tkhd = box(b"tkhd", bytes(76) + struct.pack(">II", width << 16, height << 16))
    return box(b"ftyp", b"isom\0\0\2\0isom") + box(b"moov", mvhd + box(b"trak", tkhd)) + box(b"mdat", bytes(400))


def read(data: bytes, name: str = "tape") -> Any:
    return extract(data, filename=name, recordings=True)


@pytest.mark.parametrize(
    ("data", "kind", "seconds", "size"),
    [
        (wav(), "audio/wav", 2.5, None),
        (mp3(), "audio/mpeg", 3.0, None),
        (webm(), "video/webm", 95.5, (640, 360)),
        (avi(), "video/x-msvideo", 10.0, (320, 240)),
        (mp4(), "video/mp4", 12.0, (1280, 720)),
    ],
)
def test_length_and_size_are_measured(data: bytes, kind: str, seconds: float, size: tuple[int, int] | None) -> None:
    assert media_type(data) == kind
    found = read(data)
    assert (found.content_type, found.method) == (kind, "tags")
    assert found.meta["duration"] == pytest.approx(seconds, abs=0.05)
    assert found.meta["bytes"] == len(data)
    assert (found.meta.get("width"), found.meta.get("height")) == (size or (None, None))
    assert found.text.startswith("# tape\n\nA ")
    assert "nobody listened" in found.warnings[0]


def test_names_in_it_are_what_it_is_found_by() -> None:
    found = read(
        mp3(tags={"TIT2": "Fog bell\n# loud", "TPE1": "The keepers", "TALB": "North light", "COMM": "eng\0rung"})
    )
    assert (found.title, found.author) == ("Fog bell # loud", "The keepers")
    assert found.text.startswith("# Fog bell # loud\n\nA sound recording of 3.0 s (MP3, 44.1 kHz, ")
    assert "- By: The keepers\n- Album: North light" in found.text


def test_real_recordings(shared: Path) -> None:
    for path in sorted((shared / "data" / "speech").glob("*.wav"))[:6]:
        with wave.open(str(path)) as file:
            seconds = file.getnframes() / file.getframerate()
        assert read(path.read_bytes(), path.name).meta["duration"] == pytest.approx(seconds, abs=0.01)


@pytest.mark.parametrize("data", [wav(), mp3(tags={"TIT2": "x"}), webm(), avi(), mp4()])
def test_where_only_text_is_wanted_they_are_refused(data: bytes) -> None:
    with pytest.raises(errors.UnsupportedMedia):
        extract(data, filename="tape.mp3")


@pytest.mark.parametrize("make", [wav, mp3, webm, avi, mp4])
def test_cut_and_broken_recordings_are_read_or_refused(make: Any) -> None:
    data = make()
    for cut in (40, 60, len(data) // 2, len(data) - 3):
        for broken in (data[:cut], data[: cut - 8] + b"\xff" * 40):
            with suppress(errors.Invalid, errors.UnsupportedMedia, errors.TooLarge):
                assert 0 <= read(broken).meta.get("duration", 0) < 1e6


def test_endings_and_kinds_belong_together() -> None:
    from webapp.extraction.service import ACCEPTED

    assert not RECORDINGS & ACCEPTED
    assert {".mp3", ".wav", ".mp4", ".webm", ".avi", ".flac", ".ogg"} <= RECORDINGS
    assert media_type(b"\xff\xfe" + "Two bytes of a mark are no sound".encode("utf-16-le")) is None
