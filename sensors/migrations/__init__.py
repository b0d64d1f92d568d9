"""Migrations of the operations database, run by `sensors.operations.connect` through Alembic."""
