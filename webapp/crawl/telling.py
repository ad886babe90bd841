"""What a crawl says of itself while it goes on. Pure but for the clock."""

from __future__ import annotations

import time
from collections.abc import Mapping

AGAIN = 0.6  # seconds; longer than a part's messages to its whole are apart


def told(counts: Mapping[str, int], room: int) -> tuple[float, str]:
    """(percent, message) of a frontier's counts; room: pages that may still be read."""
    read = counts["fetched"] + counts["unchanged"]
    done = read + counts["failed"]
    left = min(counts["queued"], max(0, room)) + counts["reading"]
    message = f"{read:,} {'page' if read == 1 else 'pages'} read"
    message += f", {counts['reading']:,} fetched" if counts["reading"] else ""
    message += f", {counts['queued']:,} waiting" if counts["queued"] else ""
    message += f", {counts['failed']:,} failed" if counts["failed"] else ""
    return 98 * done / max(1, done + left), message


class News:
    """Each message once, and once more a moment later: what comes too fast after another one is not passed on."""

    def __init__(self) -> None:
        self.said, self.at, self.repeated = "", 0.0, False

    def __call__(self, message: str) -> bool:
        now = time.monotonic()
        if message != self.said:
            self.said, self.at, self.repeated = message, now, False
            return True
        if self.repeated or now - self.at < AGAIN:
            return False
        self.repeated = True
        return True
