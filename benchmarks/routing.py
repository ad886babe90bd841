"""Does the orchestrator choose the right agent, and is its confidence true? On questions it was not fitted on.

Fitted on webapp/agents/examples.txt; strength of the ridge and temperature are chosen by leaving topics out. Measured on
benchmarks/routing_questions.txt, written when signs and examples were finished.

    python -m benchmarks routing
    python -m benchmarks.routing --fit        writes webapp/agents/routing.json
    python -m benchmarks.routing --wrong      lists the questions that went to another agent
"""

from __future__ import annotations

import base64
import json
import re
import sys
from typing import Any

import numpy as np

from benchmarks import harness as h
from benchmarks.harness import Report
from webapp.agents import routing
from webapp.agents.signs import NAMES, signs

FILE = h.ROOT / "webapp" / "agents" / "routing.json"
FOLDS = 8
RIDGES = (0.3, 1.0, 3.0, 10.0)  # on the signs
VECTOR_RIDGES = (1.0, 3.0, 10.0, 30.0)
ALIKE = 0.75  # share of common words from which on two questions count as the same


Example = tuple[str, str, int]


def sets() -> tuple[list[Example], list[Example]]:
    """(to learn from, to measure on)."""
    return routing.examples(), routing.examples(h.ROOT / "benchmarks" / "routing_questions.txt")


def run(report: Report, quick: bool) -> None:
    learned, unseen = sets()
    twins = leaks(learned, unseen)
    report.notes.append(
        f"{len(unseen)} questions, fitted on {len(learned)} others; {twins} of the test stand nearly so there"
    )
    truth = [agent for _, agent, _ in unseen]
    with h.scratch() as folder:
        rt = h.open_runtime(h.our_env(folder))
        try:
            routing.route(rt, "to load what is needed")
            full = [routing.route(rt, question) for question, _, _ in unseen]
        finally:
            rt.close()
    alone = [routing.route(NoEmbedder(), question) for question, _, _ in unseen]  # type: ignore[arg-type]
    for name, found, least in (("signs and vectors", full, 0.8), ("signs alone", alone, 0.6)):
        right = [one.agent == agent for one, agent in zip(found, truth, strict=True)]
        error = calibration_error([one.confidence for one in found], right)
        report.raw[name] = {
            "accuracy": sum(right) / len(right),
            "ece": error,
            "methods": sorted({one.method for one in found}),
        }
        report.add(
            f"{name}: accuracy",
            f"{sum(right) / len(right):.3f}",
            goal=f">= {least}",
            ok=sum(right) / len(right) >= least,
        )
        with_vectors = found is full  # the rest is a way to go on without an embedder
        report.add("  expected calibration error, 8 bins", f"{error:.3f}", goal="<= 0.08" if with_vectors else "",
                   ok=error <= 0.08 if with_vectors else None)  # fmt: skip
        report.add("  mean confidence", f"{sum(one.confidence for one in found) / len(found):.3f}")
        for agent in routing.AGENTS:
            said = [ok for ok, one in zip(right, found, strict=True) if one.agent == agent]
            hits = [one.agent == agent for one, wanted in zip(found, truth, strict=True) if wanted == agent]
            report.add(
                f"  {agent}: precision / recall", f"{np.mean(said or [0]):.3f} / {np.mean(hits):.3f} of {len(hits)}"
            )
    report.add(
        "milliseconds of a decision, p50 / p95",
        f"{h.pct([one.ms for one in full], 0.5):.1f} / {h.pct([one.ms for one in full], 0.95):.1f}",
    )


def wrong() -> None:
    with h.scratch() as folder:
        rt = h.open_runtime(h.our_env(folder))
        try:
            for question, agent, _ in sets()[1]:
                found = routing.route(rt, question)
                if found.agent != agent:
                    print(f"{agent:9} -> {found.agent:9} {found.confidence:.2f}  {question}")
        finally:
            rt.close()


class NoEmbedder:
    """A runtime in which no embedder can be used."""

    class settings:
        embedder = "none"
        embedders = ()

    def kept(self, name: str, make: Any) -> Any:
        from webapp.core.errors import NoModel

        raise NoModel("not here")


def leaks(learned: list[Example], unseen: list[Example]) -> int:
    """Questions of the test that stand nearly word by word among the others."""
    bags = [set(re.findall(r"\w+", question.lower())) for question, _, _ in learned]
    found = 0
    for question, _, _ in unseen:
        bag = set(re.findall(r"\w+", question.lower()))
        found += any(len(bag & one) / max(1, len(bag | one)) >= ALIKE for one in bags)
    return found


def calibration_error(confidence: list[float], right: list[bool], bins: int = 8) -> float:
    """Expected calibration error over bins of equal count: mean distance of confidence and share of right ones."""
    order = np.argsort(confidence, kind="stable")
    sure, hit = np.array(confidence)[order], np.array(right, float)[order]
    parts = np.array_split(np.arange(len(order)), bins)
    return float(sum(len(part) * abs(sure[part].mean() - hit[part].mean()) for part in parts if len(part)) / len(order))


# -- fitting ---------------------------------------------------------------------------------------------------------


def fit() -> None:
    learned, _ = sets()
    truth = np.array([routing.AGENTS.index(agent) for _, agent, _ in learned])
    topics = np.array([topic for _, _, topic in learned])
    seen = [signs(question) for question, _, _ in learned]
    plain = np.array([[found[name].strength if name in found else 0.0 for name in NAMES] for found in seen])
    with h.scratch() as folder:
        rt = h.open_runtime(h.our_env(folder))
        try:
            from webapp.embedding import service as embedding

            vectors = embedding.embed(rt, routing.EMBEDDER, [question for question, _, _ in learned])
        finally:
            rt.close()
    stored: dict[str, Any] = {"agents": routing.AGENTS, "embedder": routing.EMBEDDER, "examples": len(learned)}
    for name, matrix, ridges in (
        ("signs", plain, [np.full(len(NAMES), one) for one in RIDGES]),
        ("full", np.hstack([plain, vectors]),
         [np.r_[np.full(len(NAMES), one), np.full(vectors.shape[1], two)] for one in RIDGES for two in VECTOR_RIDGES]),
    ):  # fmt: skip
        logits = {place: left_out(matrix, truth, topics, ridge) for place, ridge in enumerate(ridges)}
        tuned = {place: temperature(found, truth) for place, found in logits.items()}
        best = min(ridges and tuned, key=lambda place: loss(logits[place] / tuned[place], truth))
        weights = newton(matrix, truth, ridges[best])
        hits = (logits[best].argmax(1) == truth).mean()
        sure = softmax(logits[best] / tuned[best])
        error = calibration_error(list(sure.max(1)), list(sure.argmax(1) == truth))
        print(f"{name}: ridge {ridges[best][0]:g} {ridges[best][-1]:g}, temperature {tuned[best]:.3f}; topics left out: "
              f"accuracy {hits:.3f}, calibration error {error:.3f}")  # fmt: skip
        stored[name] = {"temperature": round(tuned[best], 4), "bias": [round(float(one), 4) for one in weights[0]],
                        "weights": {sign: [round(float(one), 3) for one in row]
                                    for sign, row in zip(NAMES, weights[1:], strict=False)}}  # fmt: skip
        if name == "full":
            packed = np.ascontiguousarray(weights[1 + len(NAMES) :].T, "<f2")
            stored[name]["vectors"] = base64.b64encode(packed.tobytes()).decode()
    FILE.write_text(json.dumps(stored, ensure_ascii=False, indent=1) + "\n", "utf-8")


def left_out(matrix: Any, truth: Any, topics: Any, ridge: Any) -> Any:
    """Logits of each row by a fit that saw nothing of its topic."""
    found = np.zeros((len(truth), len(routing.AGENTS)))
    folds = np.searchsorted(np.unique(topics), topics) % FOLDS
    for fold in range(FOLDS):
        weights = newton(matrix[folds != fold], truth[folds != fold], ridge)
        found[folds == fold] = with_bias(matrix[folds == fold]) @ weights
    return found


def newton(matrix: Any, truth: Any, ridge: Any, steps: int = 12) -> Any:
    """Multinomial logistic regression with a ridge; (1 + columns, agents), the bias first.

    Böhning's bound instead of the exact curvature: one matrix to invert for all steps, and it cannot overshoot.
    """
    x, classes = with_bias(matrix), len(routing.AGENTS)
    wanted = np.eye(classes)[truth]
    penalty = np.r_[1e-3, ridge]
    inverse = np.linalg.inv(0.5 * (1 - 1 / classes) * x.T @ x + np.diag(penalty))
    weights = np.zeros((x.shape[1], classes))
    for _ in range(steps * 25):
        change = inverse @ (x.T @ (wanted - softmax(x @ weights)) - penalty[:, None] * weights)
        weights += change
        if np.abs(change).max() < 1e-4:
            break
    return weights


def temperature(logits: Any, truth: Any) -> float:
    """What to divide by, so that confidence is true: least log loss on rows left out."""
    return min((float(one) for one in np.geomspace(0.2, 5, 161)), key=lambda one: loss(logits / one, truth))


def loss(logits: Any, truth: Any) -> float:
    return float(-np.log(softmax(logits)[np.arange(len(truth)), truth] + 1e-12).mean())


def softmax(logits: Any) -> Any:
    grown = np.exp(logits - logits.max(1, keepdims=True))
    return grown / grown.sum(1, keepdims=True)


def with_bias(matrix: Any) -> Any:
    return np.hstack([np.ones((len(matrix), 1)), matrix])


if __name__ == "__main__":
    if "--fit" in sys.argv:
        fit()
    if "--wrong" in sys.argv:
        wrong()
