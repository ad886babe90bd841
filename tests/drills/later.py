"""The next version's kinds: `drill_steps` takes one more parameter and insists on it, `drill_new` was not there before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.drills import kinds
from webapp.tasks.kinds import TaskKind
from webapp.tasks.run import TaskRun


class Steps(kinds.Steps):
    tone: str = "calm"


def steps(run: TaskRun) -> dict[str, Any]:
    return {**kinds.steps(run), "tone": run.params["tone"]}


STEPS: TaskKind = replace(kinds.KINDS["drill_steps"], params=Steps, run=steps)
NEW: TaskKind = replace(kinds.KINDS["drill_steps"], name="drill_new", params=Steps, run=steps)

OTHERS = ",".join(one for one in kinds.PLUGINS.split(",") if not one.startswith("drill_steps="))
PLUGINS = f"{OTHERS},drill_steps=tests.drills.later:STEPS,drill_new=tests.drills.later:NEW"
