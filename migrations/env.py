"""Alembic environment: one history for SQLite and Postgres, on the connection `webapp.core.migrate` hands over."""

from alembic import context

from webapp.core.migrate import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata(),
    render_as_batch=True,
    compare_type=True,
    compare_server_default=False,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
