"""PostgreSQL: the embedded server, migrations and connections."""
