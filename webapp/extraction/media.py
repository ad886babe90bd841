"""Sound and film: what a recording says about itself, without listening to it. Runs in the child.

tinytag reads what sound files and MP4 films tell. Matroska and AVI it does not know; of those only the head is read:
RFC 9559 (Matroska) 5.1.2, Microsoft's AVI RIFF File Reference for `avih`. Nor does it tell how large a film is:
ISO 14496-12 8.3.2 for `tkhd`.
"""

from __future__ import annotations

import io
import math
import struct
from typing import Any

from webapp.extraction.common import damaged

HEAD = 4 * 2**20  # bytes of a film in which its head is looked for
SECONDS = 1e6  # longer recordings are lies of a damaged head
KINDS = {
    "audio/mpeg": "MP3", "audio/wav": "WAV", "audio/flac": "FLAC", "audio/ogg": "Ogg", "audio/mp4": "MPEG-4 sound",
    "audio/aiff": "AIFF", "video/mp4": "MPEG-4 film", "video/x-matroska": "Matroska film", "video/webm": "WebM film",
    "video/x-msvideo": "AVI film", "video/quicktime": "QuickTime film",
}  # fmt: skip
ENDINGS = {".mp3", ".wav", ".flac", ".ogg", ".oga", ".opus", ".m4a", ".aif", ".aiff", ".mp4", ".m4v", ".mov", ".mkv",
           ".webm", ".avi"}  # fmt: skip
SAID = (("artist", "By"), ("composer", "Composed by"), ("album", "Album"), ("genre", "Genre"), ("year", "Year"))
NOT_HEARD = "Only what the recording says about itself was read; nobody listened to it."


def media_type(data: bytes) -> str | None:
    """The media type of a recording by its first bytes."""
    head = data[:64]
    if head[:4] == b"RIFF":
        return {b"WAVE": "audio/wav", b"AVI ": "video/x-msvideo"}.get(head[8:12])
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "audio/aiff"
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        return "audio/mp4" if brand[:3] == b"M4A" else "video/quicktime" if brand == b"qt  " else "video/mp4"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "video/webm" if b"webm" in head else "video/x-matroska"
    if head[:4] == b"OggS":
        return "audio/ogg"
    if head[:4] == b"fLaC":
        return "audio/flac"
    if head[:3] == b"ID3" or _mpeg_frame(data):
        return "audio/mpeg"
    return None


def _mpeg_frame(data: bytes) -> bool:
    """Two frame heads of MPEG sound where the first says the second is: two bytes alone are no proof."""
    length = _frame_length(data[:4])
    return bool(length) and _frame_length(data[length : length + 4]) > 0


def _frame_length(head: bytes) -> int:
    """Of layer III, in bytes; 0 when it is no frame (ISO 11172-3, 2.4.2.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2 or head[1] >> 3 & 3 == 1:
        return 0
    first = head[1] >> 3 & 3 == 3  # MPEG-1, else 2 or 2.5
    rates = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 0) if first else \
        (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160, 0)  # fmt: skip
    rate, frequency = rates[head[2] >> 4], (44100, 48000, 32000, 0)[head[2] >> 2 & 3]
    frequency //= {3: 1, 2: 2, 0: 4}[head[1] >> 3 & 3]
    return (144 if first else 72) * rate * 1000 // frequency + (head[2] >> 1 & 1) if rate and frequency else 0


def read_media(data: bytes, kind: str, filename: str | None) -> dict[str, Any]:
    """Title, names and length as text to be found by. meta: duration (s), samplerate, channels, bitrate, width, height."""
    tags: dict[str, Any] = {}
    if kind in ("video/x-matroska", "video/webm"):
        meta = _matroska(data[:HEAD])
    elif kind == "video/x-msvideo":
        meta = _avi(data[:HEAD])
    else:
        meta, tags = _tags(data)
        meta |= _picture_size(data) if kind.startswith("video/") else {}
    meta = {name: value for name, value in meta.items() if value}
    title = " ".join(str(tags.get("title") or "").split()) or filename or KINDS[kind]
    meta["codec"] = _described(kind, meta)
    return {"text": _told(title, kind, meta, tags), "title": title, "author": tags.get("artist"), "method": "tags",
            "published": None, "meta": meta, "warnings": [NOT_HEARD]}  # fmt: skip


def _tags(data: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
    from tinytag import TinyTag, TinyTagException

    try:
        found = TinyTag.get(file_obj=io.BytesIO(data), image=False)
    except MemoryError:
        raise
    except (TinyTagException, ArithmeticError, LookupError, TypeError, ValueError, OSError, struct.error) as error:
        raise damaged("recording") from error
    meta = {"duration": _seconds(found.duration), "samplerate": found.samplerate, "channels": found.channels,
            "bitrate": round(found.bitrate) if found.bitrate else None}  # fmt: skip
    names = ("title", "artist", "composer", "album", "genre", "year", "comment")
    tags = {name: str(value).replace("\0", " ").strip() for name in names if (value := getattr(found, name, None))}
    lyrics = found.other.get("lyrics")
    return meta, tags | ({"lyrics": str(lyrics[0])} if lyrics else {})


def _seconds(value: float | None) -> float | None:
    return round(value, 2) if value is not None and math.isfinite(value) and 0 < value < SECONDS else None


def _described(kind: str, meta: dict[str, Any]) -> str:
    parts = [KINDS[kind]]
    if meta.get("samplerate"):
        parts.append(f"{meta['samplerate'] / 1000:g} kHz")
    if channels := meta.get("channels"):
        parts.append({1: "mono", 2: "stereo"}.get(channels, f"{channels} channels"))
    if meta.get("bitrate"):
        parts.append(f"{meta['bitrate']} kbit/s")
    return ", ".join(parts)


def _told(title: str, kind: str, meta: dict[str, Any], tags: dict[str, Any]) -> str:
    """Markdown. A tag is foreign text and may not become a heading or a list of its own."""
    lines = [f"# {_flat(title)}", "A film" if kind.startswith("video/") else "A sound recording"]
    if duration := meta.get("duration"):
        lines[1] += f" of {_length(duration)}"
    lines[1] += f" ({meta['codec']})."
    lines += ["\n".join(f"- {label}: {_flat(tags[name])}" for name, label in SAID if tags.get(name))]
    lines += [tags[name].strip() for name in ("comment", "lyrics") if tags.get(name)]
    return "\n\n".join(line for line in lines if line)


def _flat(text: str) -> str:
    return " ".join(text.split())[:500]


def _length(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


# -- films whose heads are read here ---------------------------------------------------------------------------------

SEGMENT, INFO, SCALE, DURATION, TRACKS, TRACK, VIDEO, WIDTH, HEIGHT = (
    0x18538067, 0x1549A966, 0x2AD7B1, 0x4489, 0x1654AE6B, 0xAE, 0xE0, 0xB0, 0xBA)  # fmt: skip
INSIDE = {SEGMENT, INFO, TRACKS, TRACK, VIDEO}


def _matroska(data: bytes) -> dict[str, Any]:
    """Elements are an id, a size and what they hold; those that hold others are gone into."""
    found: dict[int, bytes] = {}
    at = 0
    while at < len(data) and len(found) < 4:
        ident, after = _vint(data, at, keep=True)
        size, body = _vint(data, after)
        if ident is None or size is None:
            break
        if ident in INSIDE:
            at = body
            continue
        if ident in (SCALE, DURATION, WIDTH, HEIGHT) and 0 < size <= 8:
            found.setdefault(ident, data[body : body + size])
        at = body + size
    scale = int.from_bytes(found.get(SCALE, b"\x0f\x42\x40"), "big")
    raw = found.get(DURATION, b"")
    ticks = struct.unpack(">d" if len(raw) == 8 else ">f", raw)[0] if len(raw) in (4, 8) else 0.0
    return {"duration": _seconds(ticks * scale / 1e9), "width": int.from_bytes(found.get(WIDTH, b""), "big"),
            "height": int.from_bytes(found.get(HEIGHT, b""), "big")}  # fmt: skip


def _vint(data: bytes, at: int, keep: bool = False) -> tuple[int | None, int]:
    """A number whose first byte says by its leading zeros how long it is (RFC 8794 4); (None, at) beyond the end."""
    if at >= len(data) or not data[at]:
        return None, at
    length = 9 - data[at].bit_length()
    if at + length > len(data):
        return None, at
    value = int.from_bytes(data[at : at + length], "big")
    return value if keep else value & ((1 << 7 * length) - 1), at + length


def _picture_size(data: bytes) -> dict[str, Any]:
    """Of the first track of an MPEG-4 film that has one. Fixed-point numbers, whole pixels in the upper half."""
    at = data.find(b"tkhd")
    while 0 <= at < len(data) - 100:
        end = at + 4 + (96 if data[at + 4] == 1 else 84)
        width, height = struct.unpack_from(">II", data, end - 8)
        if width >> 16 and height >> 16:
            return {"width": width >> 16, "height": height >> 16}
        at = data.find(b"tkhd", at + 4)
    return {}


def _avi(data: bytes) -> dict[str, Any]:
    at = data.find(b"avih")
    if at < 0 or at + 48 > len(data):
        raise damaged("film")
    each, _, _, _, frames, _, _, _, width, height = struct.unpack_from("<10I", data, at + 8)
    return {"duration": _seconds(each * frames / 1e6), "width": width, "height": height}
