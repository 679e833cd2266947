"""What stands between the archive and its database and loses an answer (F22)."""

from __future__ import annotations

import socket
import threading

import psycopg


class LosesAnswers:
    """Passes everything on; once ``lose`` is set, it closes instead of giving the answer to what names ``word``."""

    def __init__(self, dsn: str, word: bytes) -> None:
        said = psycopg.conninfo.conninfo_to_dict(dsn)
        self._server = f"{said['host']}/.s.PGSQL.{said.get('port', 5432)}"
        self._word = word
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.dsn = psycopg.conninfo.make_conninfo(dsn, host="127.0.0.1", port=self._listening.getsockname()[1])
        self.lose = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._server)
            losing = threading.Event()
            threading.Thread(target=self._pass, args=(client, server, losing, True), daemon=True).start()
            threading.Thread(target=self._pass, args=(server, client, losing, False), daemon=True).start()

    def _pass(self, source: socket.socket, target: socket.socket, losing: threading.Event, asks: bool) -> None:
        try:
            while got := source.recv(65536):
                if asks and self.lose.is_set() and self._word in got:
                    self.lose.clear()
                    losing.set()
                if not asks and losing.is_set():
                    break
                target.sendall(got)
        except OSError:
            pass
        finally:
            for end in (source, target):
                end.close()
