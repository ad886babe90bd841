"""settings that are kept in the database, quotas of people

Revision: 0013
Previous: 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "stored_settings",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("set_by", sa.String(64), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_stored_settings"),
    )
    op.create_table(
        "quota_grants",
        sa.Column("user_id", sa.String(36), nullable=False),
        sa.Column("name", sa.String(32), nullable=False),
        sa.Column("most", sa.BigInteger()),
        sa.Column("set_by", sa.String(64), nullable=False),
        sa.Column("set_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name="fk_quota_grants_user_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("user_id", "name", name="pk_quota_grants"),
    )
    op.create_table(
        "removed_tasks",
        sa.Column("owner_id", sa.String(36), nullable=False),
        sa.Column("day", sa.String(10), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name="fk_removed_tasks_owner_id", ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("owner_id", "day", name="pk_removed_tasks"),
    )


def downgrade() -> None:
    for name in ("removed_tasks", "quota_grants", "stored_settings"):
        op.drop_table(name)
