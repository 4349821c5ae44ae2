"""Alembic's entry: runs the revisions on the connection, and in the transaction, of store/upgrade.py."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
