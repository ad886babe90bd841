"""templates of tasks; which agent a task is for; all that statistics ask of a task in one index

Revision: 0011
Previous: 0010
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
ENDED = "finished_at IS NOT NULL"
BEFORE = ["finished_at", "queue", "status"]
NOW = [*BEFORE, "kind", "owner_id", "parent_id", "agent_id", "created_at", "started_at"]


def upgrade() -> None:
    op.create_table(
        "task_templates",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=True),
        sa.Column("key", sa.String(length=40), nullable=True),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("task_type", sa.String(length=64), nullable=False),
        sa.Column("default_config", JSON, nullable=False),
        sa.Column("config_schema", JSON, nullable=False),
        sa.Column("usage_count", sa.Integer(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["owner_id"], ["users.id"], name=op.f("fk_task_templates_owner_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task_templates")),
        sa.UniqueConstraint("key", name="uq_task_templates_key"),
    )
    op.create_index("ix_task_templates_owner_id_id", "task_templates", ["owner_id", "id"])
    op.add_column("tasks", sa.Column("agent_id", sa.String(length=64), nullable=True))
    _finished(NOW)
    now = sa.text("agent_id IS NOT NULL AND finished_at IS NULL")
    columns = ["agent_id", "status", "owner_id", "kind", "parent_id", "finished_at"]
    op.create_index("ix_tasks_agents_now", "tasks", columns, sqlite_where=now, postgresql_where=now)


def downgrade() -> None:
    op.drop_index("ix_tasks_agents_now", "tasks")
    _finished(BEFORE)
    op.drop_column("tasks", "agent_id")
    op.drop_table("task_templates")


def _finished(columns: list[str]) -> None:
    op.drop_index("ix_tasks_finished", "tasks")
    op.create_index("ix_tasks_finished", "tasks", columns, sqlite_where=sa.text(ENDED), postgresql_where=sa.text(ENDED))
