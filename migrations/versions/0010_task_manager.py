"""saved views of the task list, links to results, schedules of people

Revision: 0010
Previous: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def upgrade() -> None:
    op.create_table(
        "saved_views",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=True),
        sa.Column("name", sa.String(length=60), nullable=False),
        sa.Column("filters", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_saved_views_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_saved_views")),
        sa.UniqueConstraint("owner_id", "name", name="uq_saved_views_owner_id_name"),
    )
    op.create_table(
        "task_shares",
        sa.Column("task_id", sa.String(length=36), nullable=False),
        sa.Column("token", sa.String(length=64), nullable=False),
        sa.Column("shared_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["task_id"], ["tasks.id"], name=op.f("fk_task_shares_task_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("task_id", name=op.f("pk_task_shares")),
        sa.UniqueConstraint("token", name="uq_task_shares_token"),
    )
    op.add_column("schedules", sa.Column("title", sa.String(length=300), nullable=False, server_default=""))
    op.add_column("schedules", sa.Column("rank", sa.Integer(), nullable=False, server_default="2"))
    op.add_column("schedules", sa.Column("notify", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("schedules", sa.Column("error", sa.String(length=500), nullable=True))
    with op.batch_alter_table("schedules") as table:
        for name in ("title", "rank", "notify"):
            table.alter_column(name, server_default=None)
        table.create_index("ix_schedules_owner_id", ["owner_id", "id"], unique=False)


def downgrade() -> None:
    with op.batch_alter_table("schedules") as table:
        table.drop_index("ix_schedules_owner_id")
        for name in ("error", "notify", "rank", "title"):
            table.drop_column(name)
    op.drop_table("task_shares")
    op.drop_table("saved_views")
