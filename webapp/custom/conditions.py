"""The comparison a condition makes: what is at a path, an operator, a value. Nothing is evaluated (A36)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

Operator = Literal[
    "==", "!=", "<", "<=", ">", ">=", "contains", "not_contains", "starts_with", "ends_with", "exists", "missing", "empty",
    "not_empty",
]  # fmt: skip
ALONE = frozenset(("exists", "missing", "empty", "not_empty"))  # need no value
NOTHING = object()  # there was nothing at the path


def holds(left: Any, operator: str, right: Any) -> bool:
    """Whether the comparison is true. What cannot be compared, such as a list with a number by <, is not."""
    if operator == "exists":
        return left is not NOTHING
    if operator == "missing":
        return left is NOTHING
    if operator in ("empty", "not_empty"):
        return _empty(left) == (operator == "empty")
    if left is NOTHING:
        return operator in ("!=", "not_contains")
    return COMPARE[operator](left, right)


def _empty(value: Any) -> bool:
    return value is NOTHING or value is None or (isinstance(value, (str, list, dict)) and not value)


def _equal(left: Any, right: Any) -> bool:
    one, other = _number(left), _number(right)
    if one is not None and other is not None:
        return one == other
    if isinstance(left, bool) or isinstance(right, bool):
        return str(left).casefold() == str(right).casefold()
    return bool(left == right)


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        return float(value)
    except (ValueError, OverflowError):
        return None


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compare(left: Any, right: Any) -> bool:
        one, other = _number(left), _number(right)
        if one is not None and other is not None:
            return test(one, other)
        return isinstance(left, str) and isinstance(right, str) and test(left, right)

    return compare


def _contains(left: Any, right: Any) -> bool:
    if isinstance(left, str):
        return str(right).casefold() in left.casefold()
    if isinstance(left, list):
        return any(_equal(one, right) for one in left)
    return isinstance(left, dict) and str(right) in left


def _starts(left: Any, right: Any) -> bool:
    return isinstance(left, str) and left.casefold().startswith(str(right).casefold())


def _ends(left: Any, right: Any) -> bool:
    return isinstance(left, str) and left.casefold().endswith(str(right).casefold())


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": _ordered(lambda left, right: left < right),
    "<=": _ordered(lambda left, right: left <= right),
    ">": _ordered(lambda left, right: left > right),
    ">=": _ordered(lambda left, right: left >= right),
    "contains": _contains,
    "not_contains": lambda left, right: not _contains(left, right),
    "starts_with": _starts,
    "ends_with": _ends,
}
