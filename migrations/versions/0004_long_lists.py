"""an index that counts a person's tasks by state without reading their rows

Revision: 0004
Previous: 0003
"""

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index("ix_tasks_owner_lists", "tasks", ["owner_id", "status", "id", "kind", "parent_id"])
    op.drop_index("ix_tasks_owner_id_status_id", "tasks")


def downgrade() -> None:
    op.create_index("ix_tasks_owner_id_status_id", "tasks", ["owner_id", "status", "id"])
    op.drop_index("ix_tasks_owner_lists", "tasks")
