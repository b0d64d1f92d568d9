"""Run by Alembic: migrates the connection that `sensors.operations.connect` hands over, in its transaction."""

from alembic import context

from sensors.operations import metadata

if __name__ == "env_py":  # the name that Alembic runs this file under; test collectors merely import it
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=metadata, transactional_ddl=True
    )
    with context.begin_transaction():
        context.run_migrations()
