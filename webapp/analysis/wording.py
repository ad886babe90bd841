"""Words around numbers, in the report and its downloads."""

from __future__ import annotations

from webapp.ui.plots import say

__all__ = ["listed", "percent", "say", "say_p", "several", "two"]


def say_p(value: float | None) -> str:
    """`p < 0.001`, `p = 0.012`."""
    if value is None:
        return "no p"
    if value < 0.001:
        return "p < 0.001"
    return f"p = {value:.3f}" if value < 0.995 else "p > 0.99"


def two(value: float | None) -> str:
    """Two decimals, for figures between -1 and 1."""
    return "–" if value is None else f"{value:.2f}".replace("-", "−")


def percent(share: float | None) -> str:
    if share is None:
        return "–"
    value = 100 * share
    return (
        "0 %" if not value else "under 0.1 %" if value < 0.1 else f"{value:.1f} %" if value < 10 else f"{value:.0f} %"
    )


def several(count: int, one: str, more: str = "") -> str:
    """`1 row`, `1,204 rows`."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def listed(names: list[str], most: int = 6) -> str:
    """`a, b and c`; `a, b and 4 more`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
