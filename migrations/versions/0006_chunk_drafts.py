"""passages cut for another embedder, until that one serves

Revision: 0006
Previous: 0005
"""

import sqlalchemy as sa
from alembic import op

CHUNK_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chunk_drafts",
        sa.Column("id", CHUNK_ID, autoincrement=False, nullable=False),
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("document_id", sa.String(length=36), nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("heading", sa.String(length=500), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_chunk_drafts_collection_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name=op.f("fk_chunk_drafts_document_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["document_versions.id"], name=op.f("fk_chunk_drafts_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunk_drafts")),
        sa.UniqueConstraint("version_id", "position", name="uq_chunk_drafts_version_id_position"),
    )
    op.create_index(
        "ix_chunk_drafts_collection_id_generation_id", "chunk_drafts", ["collection_id", "generation", "id"]
    )
    op.create_index("ix_chunk_drafts_document_id", "chunk_drafts", ["document_id"])


def downgrade() -> None:
    op.drop_table("chunk_drafts")
