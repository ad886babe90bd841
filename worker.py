"""Names that programs of the Agent Service import (003:189,268). The workers themselves are `brainstem worker`.

python -c "from worker import process_agent_task; process_agent_task.delay('test_task_id')"
"""

import atexit

from webapp.agent_service.service import create_agent_task, process_agent_task
from webapp.runtime import runtime

__all__ = ["create_agent_task", "process_agent_task"]

# A program of one line ends before its message has left, unless somebody waits for that.
atexit.register(lambda: runtime().close())
