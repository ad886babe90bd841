"""Text from outside, as both databases take it."""

from __future__ import annotations


def clean(text: str) -> str:
    """Without NUL characters and half surrogates, which Postgres refuses."""
    if "\0" in text:
        text = text.replace("\0", "\ufffd")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode("utf-8")
    return text
