"""What the archive can be asked: one read model a module, with its tables, its SQL and its queries."""
