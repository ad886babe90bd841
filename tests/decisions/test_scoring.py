"""Totals, dominance and the reach of weights, against numbers worked out by hand and against brute force."""

from __future__ import annotations

import random

import pytest

from webapp.core.errors import BadRequest
from webapp.decisions import explaining, scoring
from webapp.decisions.kind import DECISION, _given
from webapp.decisions.params import criterion
from webapp.decisions.scoring import Criterion

CITY = DECISION.examples[0]


def weighed(config: dict) -> dict:
    params = DECISION.check(config)
    criteria = [criterion(line) for line in params["criteria"]]
    return explaining.result(params["question"], params["options"], criteria, _given(params, criteria), params["scale"])


def test_points_by_hand() -> None:
    """Leipzig: rent 2 of 10, lower is better, half of the weight: 40; airport 5/10 of a sixth; talent 7/10 of a third."""
    result = weighed(CITY)
    assert [(one["option"], one["score"]) for one in result["ranking"]] == [
        ("Leipzig", 71.67),
        ("Lisbon", 63.33),
        ("Lyon", 55.0),
    ]
    assert result["recommendation"] == "Leipzig"
    assert result["ranking"][0]["parts"][0] == {"criterion": "Rent", "value": 2.0, "points": 40.0, "of": 50.0,
                                                "reason": "low rents", "by": "you"}  # fmt: skip
    [airport] = [one for one in result["sensitivity"] if one["criterion"] == "Airport"]
    assert (airport["low"], airport["high"], airport["above"]) == (0.0, 0.3478, "Lisbon")


def test_objects_and_measures() -> None:
    result = weighed(DECISION.examples[1])
    assert [(one["option"], one["score"]) for one in result["ranking"]] == [("Book", 66.67), ("Air", 33.33)]
    assert result["with_equal_weights"] is None
    assert "no option would be ahead" in " ".join(result["explanation"])


def test_what_is_normalised_stays_the_same() -> None:
    for example in DECISION.examples:
        once = DECISION.check(example)
        assert DECISION.check(once) == once


def test_what_is_open_is_a_range_and_is_named() -> None:
    result = weighed(CITY | {"scores": "| | Rent | Airport |\n| Lisbon | 4 | 8 |\n| Leipzig | 2 | 5 |"})
    by = {one["option"]: one for one in result["ranking"]}
    assert (by["Lisbon"]["low"], by["Lisbon"]["high"], by["Lisbon"]["score"]) == (43.33, 76.67, None)
    assert (by["Lyon"]["low"], by["Lyon"]["high"]) == (0.0, 100.0)
    assert result["recommendation"] is None
    assert len(result["open"]) == 5
    assert "The scores do not decide" in result["explanation"][0]
    assert "These open scores can decide it" in result["explanation"][-1]


def test_decided_in_spite_of_a_gap() -> None:
    result = weighed({"question": "Which?", "options": ["A", "B"], "criteria": ["big: 9", "small: 1"],
                      "scores": {"A": {"big": 10}, "B": {"big": 1}}})  # fmt: skip
    assert result["recommendation"] == "A"
    assert "whatever the open scores are" in result["explanation"][0]
    assert "cannot be said while scores are open" in " ".join(result["explanation"])
    assert "No change of a single" not in " ".join(result["explanation"])


def test_a_gap_among_measures_decides_nothing() -> None:
    """The figure nobody knows may be the best or the worst of all, and would move the others."""
    result = weighed({"question": "Which?", "options": ["A", "B", "C"], "criteria": ["big: 9", "small: 1"], "scale": "measures",
                      "scores": {"A": {"big": 10, "small": 1}, "B": {"big": 1, "small": 1}, "C": {"small": 0}}})  # fmt: skip
    assert result["recommendation"] is None


def test_a_dominated_option_is_named() -> None:
    result = weighed({"question": "Which?", "options": ["A", "B"], "criteria": ["x", "y"],
                      "scores": {"A": {"x": 5, "y": 5}, "B": {"x": 5, "y": 4}}})  # fmt: skip
    assert result["ranking"][1]["dominated_by"] == "A"
    assert "no weights can reverse that" in " ".join(result["explanation"])


def test_level_options() -> None:
    result = weighed({"question": "Which?", "options": ["A", "B"], "criteria": ["x", "y"],
                      "scores": {"A": {"x": 5, "y": 4}, "B": {"x": 4, "y": 5}}})  # fmt: skip
    assert result["recommendation"] is None
    assert "are level with 45.0" in result["explanation"][0]


@pytest.mark.parametrize("seed", range(30))
def test_the_reach_of_a_weight_agrees_with_trying_a_thousand_of_them(seed: int) -> None:
    rng = random.Random(seed)
    count, options = rng.randrange(2, 6), rng.randrange(2, 7)
    criteria = [Criterion(f"c{n}", rng.uniform(0.1, 5), "higher") for n in range(count)]
    weights = scoring.shares(criteria)
    rows = [[rng.randrange(11) / 10 for _ in criteria] for _ in range(options)]
    first = scoring.order(scoring.totals(weights, rows))[0]
    which = rng.randrange(count)
    made = scoring.stretch(weights, rows, first, which)
    assert made is not None
    for step in range(1001):
        share = step / 1000
        if min(abs(share - made.low), abs(share - made.high)) < 1e-6:
            continue
        rest = (1 - share) / (1 - weights[which])
        moved = [share if n == which else w * rest for n, w in enumerate(weights)]
        totals = scoring.totals(moved, rows)
        best = max(total.low for total in totals)
        leads = totals[first].low >= best - 1e-9
        assert leads == (made.low <= share <= made.high), (share, made)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"options": ["one"]}, "options"),
        ({"options": ["same", "Same"]}, "options"),
        ({"options": [f"o{n}" for n in range(21)]}, "options"),
        ({"options": 7}, "options"),
        ({"criteria": []}, "criteria"),
        ({"criteria": ["Rent: much"]}, "criteria"),
        ({"criteria": ["Rent: -1"]}, "criteria"),
        ({"criteria": ["Rent: 0"]}, "criteria"),
        ({"criteria": ["Rent: nan"]}, "criteria"),
        ({"criteria": [{"name": "Rent", "weigth": 2}]}, "criteria"),
        ({"criteria": [{"name": "Rent", "better": "sideways"}]}, "criteria"),
        ({"criteria": ["Rent", "rent"]}, "criteria"),
        ({"scores": "| | Rent |\n| Paris | 3 |"}, "scores"),
        ({"scores": "| | Weather |\n| Lyon | 3 |"}, "scores"),
        ({"scores": "| | Rent |\n| Lyon | cheap |"}, "scores"),
        ({"scores": "| | Rent |\n| Lyon | 3 | 4 |"}, "scores"),
        ({"scores": "| | Rent |\n| Lyon | 1e999 |"}, "scores"),
        ({"scores": {"Lyon": 3}}, "scores"),
        ({"scores": {"Lyon": {"Rent": 11}}, "scale": "points"}, "scale"),
        ({"question": ""}, "question"),
        ({"colour": "red"}, "colour"),
    ],
)  # fmt: skip
def test_bad_input_names_the_field(change: dict, field: str) -> None:
    with pytest.raises(BadRequest) as caught:
        DECISION.check(CITY | change)
    assert caught.value.details is not None
    assert caught.value.details[0]["loc"][0] == field


@pytest.mark.parametrize("mark", ["\t", ";", ","])
def test_tables_of_other_programs(mark: str) -> None:
    table = f"city{mark}Rent{mark}Airport\nLyon{mark}6 (dear, they say){mark}?\n"
    result = weighed(CITY | {"scores": table})
    [cell] = [one for one in result["scores"] if one["value"] is not None]
    assert (cell["option"], cell["value"], cell["reason"]) == ("Lyon", 6.0, "dear, they say")


def test_files_are_harmless_and_whole() -> None:
    """A22."""
    result = weighed({"question": "=1+1", "options": ["=HYPERLINK(1)", "B|C"], "criteria": ["x"],
                      "scores": {"=HYPERLINK(1)": {"x": 5}}})  # fmt: skip
    table = explaining.csv_table("t", result)
    assert "'=HYPERLINK(1)" in table
    assert "\n=" not in table
    assert "\\|" in explaining.markdown("A | B", result)
