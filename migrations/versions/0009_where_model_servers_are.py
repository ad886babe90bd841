"""whether a model server was on a private network when it was added

Revision: 0009
Previous: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Those that are there were approved wherever they are.
    op.add_column("model_servers", sa.Column("is_private", sa.Boolean(), nullable=False, server_default=sa.true()))
    with op.batch_alter_table("model_servers") as table:
        table.alter_column("is_private", server_default=None)


def downgrade() -> None:
    op.drop_column("model_servers", "is_private")
