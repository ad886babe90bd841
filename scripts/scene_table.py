"""Three years of a small harbour, as a table somebody pastes."""

from __future__ import annotations

import math

BERTHS = ("North quay", "South quay", "Fish market")


def ledger() -> str:
    """A row for each month and berth: a summer season, fees that grow with the years, fog that keeps boats away."""
    lines = ["month,berth,boats,fee paid,hours of fog,pilot on duty"]
    for n in range(36):
        month = f"{2022 + n // 12}-{n % 12 + 1:02d}"
        for place, berth in enumerate(BERTHS):
            noise = (n * 37 + place * 53) % 17 - 8
            fog = max(0, round(30 + 24 * math.cos((n % 12) / 6 * math.pi) + noise))
            boats = round(60 + 25 * math.sin((n % 12 - 3) / 6 * math.pi) + 8 * (2 - place) - fog / 4 + noise / 3)
            fee = "" if (n + place) % 29 == 0 else f"{boats * (9.5 + 0.06 * n) + noise * 4:.2f}"
            lines.append(f"{month},{berth},{boats},{fee},{fog},{'no' if noise > 4 else 'yes'}")
    return "\n".join(lines) + "\n"
