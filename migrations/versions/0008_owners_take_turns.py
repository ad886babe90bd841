"""an index that finds whose turn it is on a queue, and their oldest task

Revision: 0008
Previous: 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

WAITING = sa.text("status = 'queued'")


def upgrade() -> None:
    _ready("queue", "rank", "owner_id", "id")


def downgrade() -> None:
    _ready("queue", "rank", "id")


def _ready(*columns: str) -> None:
    op.drop_index("ix_tasks_ready", "tasks", sqlite_where=WAITING, postgresql_where=WAITING)
    op.create_index("ix_tasks_ready", "tasks", list(columns), unique=False, sqlite_where=WAITING,
                    postgresql_where=WAITING)  # fmt: skip
