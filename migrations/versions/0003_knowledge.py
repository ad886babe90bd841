"""knowledge: collections, sources, documents, versions, chunks with their keyword index, citations, crawls

Revision: 0003
Previous: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")
CHUNK_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# The keyword index follows the rows inside the database, so the two never disagree.
# `scope` is the collection's id as one word: a search looks into its own collections' postings only. "every" stands
# with each, for a condition that is always true.
SQLITE_INDEX = (
    """CREATE VIEW chunk_words AS
        SELECT id, title, heading, text, 'every ' || replace(collection_id, '-', '') AS scope FROM chunks""",
    """CREATE VIRTUAL TABLE chunk_fts USING fts5(
        title, heading, text, scope,
        content='chunk_words', content_rowid='id', tokenize='porter unicode61 remove_diacritics 2')""",
    """CREATE TRIGGER chunk_fts_insert AFTER INSERT ON chunks BEGIN
        INSERT INTO chunk_fts(rowid, title, heading, text, scope)
        VALUES (new.id, new.title, new.heading, new.text, 'every ' || replace(new.collection_id, '-', '')); END""",
    """CREATE TRIGGER chunk_fts_delete AFTER DELETE ON chunks BEGIN
        INSERT INTO chunk_fts(chunk_fts, rowid, title, heading, text, scope)
        VALUES ('delete', old.id, old.title, old.heading, old.text, 'every ' || replace(old.collection_id, '-', '')); END""",
    """CREATE TRIGGER chunk_fts_update AFTER UPDATE OF title, heading, text, collection_id ON chunks BEGIN
        INSERT INTO chunk_fts(chunk_fts, rowid, title, heading, text, scope)
        VALUES ('delete', old.id, old.title, old.heading, old.text, 'every ' || replace(old.collection_id, '-', ''));
        INSERT INTO chunk_fts(rowid, title, heading, text, scope)
        VALUES (new.id, new.title, new.heading, new.text, 'every ' || replace(new.collection_id, '-', '')); END""",
)
POSTGRES_INDEX = (
    """CREATE TABLE chunk_fts (
        chunk_id bigint PRIMARY KEY REFERENCES chunks(id) ON DELETE CASCADE,
        collection_id varchar(36) NOT NULL, words integer NOT NULL, terms tsvector NOT NULL)""",
    "CREATE INDEX ix_chunk_fts_terms ON chunk_fts USING gin (terms)",
    "CREATE INDEX ix_chunk_fts_collection_id ON chunk_fts (collection_id)",
    """CREATE FUNCTION chunk_fts_follow() RETURNS trigger AS $$
    DECLARE found tsvector;
    BEGIN
        found := setweight(to_tsvector('english', left(new.title, 500)), 'B')
              || setweight(to_tsvector('english', left(new.heading, 500)), 'C')
              || setweight(to_tsvector('english', left(new.text, 100000)), 'D');
        INSERT INTO chunk_fts (chunk_id, collection_id, words, terms)
        SELECT new.id, new.collection_id, coalesce(sum(cardinality(positions)), 0), found FROM unnest(found)
        ON CONFLICT (chunk_id) DO UPDATE
        SET collection_id = excluded.collection_id, words = excluded.words, terms = excluded.terms;
        RETURN NULL;
    END $$ LANGUAGE plpgsql""",
    """CREATE TRIGGER chunk_fts_follow AFTER INSERT OR UPDATE OF title, heading, text, collection_id ON chunks
        FOR EACH ROW EXECUTE FUNCTION chunk_fts_follow()""",
)


def upgrade() -> None:
    op.create_table(
        "vector_removals",
        sa.Column("chunk_id", CHUNK_ID, autoincrement=False, nullable=False),
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("chunk_id", name=op.f("pk_vector_removals")),
    )
    op.create_index(op.f("ix_vector_removals_collection_id"), "vector_removals", ["collection_id"], unique=False)
    op.create_table(
        "collections",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=True),
        sa.Column("name", sa.String(length=120), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("everyone", sa.Boolean(), nullable=False),
        sa.Column("bundled", sa.Boolean(), nullable=False),
        sa.Column("embedder", sa.String(length=200), nullable=False),
        sa.Column("dimension", sa.Integer(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("building", sa.Integer(), nullable=True),
        sa.Column("building_embedder", sa.String(length=200), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("removed_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_collections_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collections")),
        sa.UniqueConstraint("owner_id", "name", name="uq_collections_owner_id_name"),
    )
    op.create_index(
        "ix_collections_everyone",
        "collections",
        ["id"],
        unique=False,
        sqlite_where=sa.text("everyone"),
        postgresql_where=sa.text("everyone"),
    )
    op.create_table(
        "search_events",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=True),
        sa.Column("query", sa.String(length=500), nullable=False),
        sa.Column("collections", JSON, nullable=False),
        sa.Column("filters", JSON, nullable=False),
        sa.Column("via", sa.String(length=16), nullable=False),
        sa.Column("results", sa.Integer(), nullable=False),
        sa.Column("top_score", sa.Double(), nullable=True),
        sa.Column("ms", sa.Double(), nullable=False),
        sa.Column("clicked", sa.String(length=36), nullable=True),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_search_events_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_search_events")),
    )
    op.create_index("ix_search_events_at", "search_events", ["at"], unique=False)
    op.create_index("ix_search_events_owner_id_id", "search_events", ["owner_id", "id"], unique=False)
    op.create_table(
        "collection_shares",
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("user_id", sa.String(length=36), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_collection_shares_collection_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_collection_shares_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("collection_id", "user_id", name=op.f("pk_collection_shares")),
    )
    op.create_index(op.f("ix_collection_shares_user_id"), "collection_shares", ["user_id"], unique=False)
    op.create_table(
        "sources",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=True),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("label", sa.String(length=300), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("upload_id", sa.String(length=36), nullable=True),
        sa.Column("config", JSON, nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("task_id", sa.String(length=36), nullable=True),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_sources_collection_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_sources_owner_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sources")),
    )
    op.create_index("ix_sources_collection_id_id", "sources", ["collection_id", "id"], unique=False)
    op.create_table(
        "crawls",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=True),
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("source_id", sa.String(length=36), nullable=True),
        sa.Column("task_id", sa.String(length=36), nullable=True),
        sa.Column("name", sa.String(length=300), nullable=False),
        sa.Column("seeds", JSON, nullable=False),
        sa.Column("config", JSON, nullable=False),
        sa.Column("counts", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_crawls_collection_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_crawls_owner_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(["source_id"], ["sources.id"], name=op.f("fk_crawls_source_id"), ondelete="SET NULL"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crawls")),
        sa.UniqueConstraint("task_id", name="uq_crawls_task_id"),
    )
    op.create_index("ix_crawls_collection_id_id", "crawls", ["collection_id", "id"], unique=False)
    op.create_index("ix_crawls_owner_id_id", "crawls", ["owner_id", "id"], unique=False)
    op.create_index("ix_crawls_source_id", "crawls", ["source_id"], unique=False)
    op.create_table(
        "documents",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("collection_id", sa.String(length=36), nullable=False),
        sa.Column("source_id", sa.String(length=36), nullable=True),
        sa.Column("key", sa.String(length=700), nullable=False),
        sa.Column("url", sa.Text(), nullable=True),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("content_type", sa.String(length=128), nullable=False),
        sa.Column("language", sa.String(length=8), nullable=True),
        sa.Column("author", sa.String(length=300), nullable=True),
        sa.Column("published", sa.String(length=10), nullable=True),
        sa.Column("meta", JSON, nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=True),
        sa.Column("version_count", sa.Integer(), nullable=False),
        sa.Column("text_hash", sa.String(length=64), nullable=True),
        sa.Column("words", sa.Integer(), nullable=False),
        sa.Column("chunk_count", sa.Integer(), nullable=False),
        sa.Column("pending_chunks", sa.Integer(), nullable=False),
        sa.Column("etag", sa.String(length=300), nullable=True),
        sa.Column("last_modified", sa.String(length=64), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("quality", sa.Double(), nullable=True),
        sa.Column("quality_signals", JSON, nullable=True),
        sa.Column("assessed_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name=op.f("fk_documents_collection_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_documents_source_id"), ondelete="SET NULL"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_documents")),
        sa.UniqueConstraint("collection_id", "key", name="uq_documents_collection_id_key"),
    )
    op.create_index(
        "ix_documents_checked_at",
        "documents",
        ["checked_at"],
        unique=False,
        sqlite_where=sa.text("url IS NOT NULL"),
        postgresql_where=sa.text("url IS NOT NULL"),
    )
    op.create_index("ix_documents_collection_id_id", "documents", ["collection_id", "id"], unique=False)
    op.create_index("ix_documents_source_id", "documents", ["source_id"], unique=False)
    op.create_index("ix_documents_text_hash", "documents", ["collection_id", "text_hash"], unique=False)
    op.create_index(
        "ix_documents_unembedded",
        "documents",
        ["id"],
        unique=False,
        sqlite_where=sa.text("pending_chunks > 0"),
        postgresql_where=sa.text("pending_chunks > 0"),
    )
    op.create_table(
        "crawl_urls",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("crawl_id", sa.String(length=36), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("url_hash", sa.String(length=64), nullable=False),
        sa.Column("host", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("depth", sa.Integer(), nullable=False),
        sa.Column("found_on", sa.Text(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("detail", sa.Text(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("bytes", sa.Integer(), nullable=True),
        sa.Column("ms", sa.Integer(), nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("canonical", sa.Text(), nullable=True),
        sa.Column("minhash", sa.Text(), nullable=True),
        sa.Column("document_id", sa.String(length=36), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["crawl_id"], ["crawls.id"], name=op.f("fk_crawl_urls_crawl_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_crawl_urls")),
        sa.UniqueConstraint("crawl_id", "url_hash", name="uq_crawl_urls_crawl_id_url_hash"),
    )
    op.create_index("ix_crawl_urls_crawl_id_state_id", "crawl_urls", ["crawl_id", "state", "id"], unique=False)
    op.create_index("ix_crawl_urls_document_id", "crawl_urls", ["document_id"], unique=False)
    op.create_table(
        "document_versions",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("document_id", sa.String(length=36), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("title", sa.String(length=500), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.String(length=64), nullable=False),
        sa.Column("method", sa.String(length=40), nullable=False),
        sa.Column("warnings", JSON, nullable=False),
        sa.Column("minhash", sa.Text(), nullable=True),
        sa.Column("fetched_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name=op.f("fk_document_versions_document_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_versions")),
        sa.UniqueConstraint("document_id", "number", name="uq_document_versions_document_id_number"),
    )
    op.create_table(
        "chunks",
        sa.Column("id", CHUNK_ID, autoincrement=True, nullable=False),
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
            ["collection_id"], ["collections.id"], name=op.f("fk_chunks_collection_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name=op.f("fk_chunks_document_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["version_id"], ["document_versions.id"], name=op.f("fk_chunks_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_chunks")),
        sa.UniqueConstraint("version_id", "position", name="uq_chunks_version_id_position"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_chunks_collection_id_generation_id", "chunks", ["collection_id", "generation", "id"], unique=False
    )
    op.create_index("ix_chunks_document_id", "chunks", ["document_id"], unique=False)
    op.create_table(
        "citations",
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("owner_id", sa.String(length=36), nullable=True),
        sa.Column("document_id", sa.String(length=36), nullable=False),
        sa.Column("version_id", sa.String(length=36), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("quote", sa.Text(), nullable=False),
        sa.Column("claim", sa.Text(), nullable=True),
        sa.Column("verdict", sa.String(length=16), nullable=True),
        sa.Column("score", sa.Double(), nullable=True),
        sa.Column("method", sa.String(length=64), nullable=True),
        sa.Column("task_id", sa.String(length=36), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["document_id"], ["documents.id"], name=op.f("fk_citations_document_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["owner_id"], ["users.id"], name=op.f("fk_citations_owner_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["version_id"], ["document_versions.id"], name=op.f("fk_citations_version_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_citations")),
    )
    op.create_index("ix_citations_owner_id_id", "citations", ["owner_id", "id"], unique=False)
    op.create_index("ix_citations_task_id", "citations", ["task_id"], unique=False)
    op.create_index("ix_citations_version_id", "citations", ["version_id"], unique=False)
    for statement in POSTGRES_INDEX if op.get_bind().dialect.name == "postgresql" else SQLITE_INDEX:
        op.execute(statement)


def downgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP TRIGGER chunk_fts_follow ON chunks")
        op.execute("DROP TABLE chunk_fts")
        op.execute("DROP FUNCTION chunk_fts_follow()")
    else:
        for name in ("insert", "delete", "update"):
            op.execute(f"DROP TRIGGER chunk_fts_{name}")
        op.execute("DROP TABLE chunk_fts")
        op.execute("DROP VIEW chunk_words")
    op.drop_index("ix_citations_version_id", table_name="citations")
    op.drop_index("ix_citations_task_id", table_name="citations")
    op.drop_index("ix_citations_owner_id_id", table_name="citations")
    op.drop_table("citations")
    op.drop_index("ix_chunks_document_id", table_name="chunks")
    op.drop_index("ix_chunks_collection_id_generation_id", table_name="chunks")
    op.drop_table("chunks")
    op.drop_table("document_versions")
    op.drop_index("ix_crawl_urls_document_id", table_name="crawl_urls")
    op.drop_index("ix_crawl_urls_crawl_id_state_id", table_name="crawl_urls")
    op.drop_table("crawl_urls")
    op.drop_index(
        "ix_documents_unembedded",
        table_name="documents",
        sqlite_where=sa.text("pending_chunks > 0"),
        postgresql_where=sa.text("pending_chunks > 0"),
    )
    op.drop_index("ix_documents_text_hash", table_name="documents")
    op.drop_index("ix_documents_source_id", table_name="documents")
    op.drop_index("ix_documents_collection_id_id", table_name="documents")
    op.drop_index(
        "ix_documents_checked_at",
        table_name="documents",
        sqlite_where=sa.text("url IS NOT NULL"),
        postgresql_where=sa.text("url IS NOT NULL"),
    )
    op.drop_table("documents")
    op.drop_index("ix_crawls_source_id", table_name="crawls")
    op.drop_index("ix_crawls_owner_id_id", table_name="crawls")
    op.drop_index("ix_crawls_collection_id_id", table_name="crawls")
    op.drop_table("crawls")
    op.drop_index("ix_sources_collection_id_id", table_name="sources")
    op.drop_table("sources")
    op.drop_index(op.f("ix_collection_shares_user_id"), table_name="collection_shares")
    op.drop_table("collection_shares")
    op.drop_index("ix_search_events_owner_id_id", table_name="search_events")
    op.drop_index("ix_search_events_at", table_name="search_events")
    op.drop_table("search_events")
    op.drop_index(
        "ix_collections_everyone",
        table_name="collections",
        sqlite_where=sa.text("everyone"),
        postgresql_where=sa.text("everyone"),
    )
    op.drop_table("collections")
    op.drop_index(op.f("ix_vector_removals_collection_id"), table_name="vector_removals")
    op.drop_table("vector_removals")
