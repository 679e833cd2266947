"""The private keys, in a table of their own: only the processes of the archive read it, and nothing gives them out."""

from __future__ import annotations

from collections.abc import Collection

from adapters.postgres.database import Database

_KEEP = "INSERT INTO secrets.private_key (public_key, pem) VALUES (%s, %s) ON CONFLICT (public_key) DO NOTHING"
_ONE = "SELECT pem FROM secrets.private_key WHERE public_key = %s"
_FORGET = "DELETE FROM secrets.private_key WHERE public_key = ANY(%s)"


class PrivateKeys:
    """Private keys by the digest of their public half; fills :class:`processes.ports.PrivateKeys`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def keep(self, public_key: str, pem: str) -> None:
        """Keep a key; durable on return."""
        with self._database.connection() as connection:
            connection.execute(_KEEP, (public_key, pem))

    def one(self, public_key: str) -> str:
        """The key in PEM, or empty where it is not kept."""
        with self._database.connection() as connection:
            row = connection.execute(_ONE, (public_key,)).fetchone()
        return row[0] if row else ""

    def forget(self, public_keys: Collection[str]) -> None:
        """Forget keys."""
        with self._database.connection() as connection:
            connection.execute(_FORGET, (list(public_keys),))
