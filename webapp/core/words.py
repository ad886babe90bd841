"""Words that carry grammar, not meaning. Each use adds its own to what all share."""

from __future__ import annotations


def words(*lines: str) -> frozenset[str]:
    return frozenset(word for line in lines for word in line.split())


# Negations are not among them: whether they say something depends on who looks.
JOINING = words(
    "a an and are as at be been but by for from had has have he her his i if in into is it its of on or our she so",
    "than that the their them there they this to was we were what when which who will with would you your",
)
FUNCTION = JOINING | words(
    "about also between can could did do does during how may should such these those where whom whose why",
)
