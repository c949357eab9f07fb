"""The versions of the catalog's tables, oldest first, as Alembic runs them."""
