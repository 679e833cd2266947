"""The servers that are measured: each in its own process with its own folder, free ports."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from adapters.postgres.embedded import EmbeddedPostgres
from bench.programs import children, command_line, cpu_seconds, environment, free_port, program, until

SINK_AE_TITLE = "BENCHSINK"
POSTGRES_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancPostgreSQLIndex.so")
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_PASSWORD = "bench"
_SETTLE_SECONDS = 120.0


class Peer:
    """One server: its name in the table, its AE title and its port."""

    name = ""
    ae_title = ""
    forks = False
    at_once = True

    def __init__(self, folder: Path, sink_port: int = 0, *, nagle: bool = False) -> None:
        self.folder = folder
        self.sink_port = sink_port
        self.nagle = nagle
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True)
        folder.chmod(0o755)

    def start(self) -> Peer:
        """Start; returns when it takes associations."""
        raise NotImplementedError

    def stop(self) -> None:
        """Stop and wait for the end."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)

    def processes(self) -> list[int]:
        """The server's process and its children, the database's apart."""
        assert self.process
        found = [self.process.pid, *children(self.process.pid)]
        return [pid for pid in found if b"postgres" not in command_line(pid).split(b"\0")[0]]

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far, its database's among them."""
        assert self.process
        return cpu_seconds(self.process.pid)

    def settle(self) -> None:
        """Wait until it does nothing more of its own accord, so that it takes nothing from the next to be measured."""

    def launch(self, command: Sequence[str], settings: dict[str, str] | None = None) -> None:
        """Run the server's program with its output in a file of its folder."""
        with (self.folder / "output.log").open("ab") as lines:
            self.process = subprocess.Popen(
                command,
                env={**environment(nagle=self.nagle), **(settings or {})},
                stdout=lines,
                stderr=lines,
                stdin=subprocess.DEVNULL,
                cwd=self.folder,
                start_new_session=True,
            )

    def wait_for(self, ready: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until the started server is ready. Raises with its last lines when it is not."""
        assert self.process
        process = self.process
        try:
            until(lambda: ready() or process.poll() is not None, seconds, f"{self.name} is ready")
        except TimeoutError:
            self.stop()
            raise
        if process.poll() is not None:
            raise RuntimeError(f"{self.name} ended: {(self.folder / 'output.log').read_text(errors='replace')[-800:]}")

    def echoes(self) -> bool:
        """Whether it answers C-ECHO."""
        command = [program("echoscu"), "-q", "-aec", self.ae_title, "127.0.0.1", str(self.port)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Annals(Peer):
    """This archive with its defaults, as ``annals serve`` runs it."""

    name = "Annals"
    ae_title = "ANNALS"

    def __init__(
        self, folder: Path, sink_port: int = 0, *, nagle: bool = False, settings: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(folder, sink_port, nagle=nagle)
        self.data = folder / "data"
        self.http_port = free_port()
        self.dicomweb_port = free_port()
        self._settings = {
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "ANNALS_DIMSE__STORE_PORT": str(self.port),
            "ANNALS_DIMSE__HOST": "127.0.0.1",
            "ANNALS_DIMSE__STORE_TLS": "false",
            "ANNALS_DIMSE__WORKLIST": "false",
            "ANNALS_DIMSE__WORKLIST_TLS": "false",
            "ANNALS_HTTP__PORT": str(self.http_port),
            "ANNALS_DICOMWEB__PORT": str(self.dicomweb_port),
            "ANNALS_DICOMWEB__HOST": "127.0.0.1",
            "ANNALS_HTTP__HOST": "127.0.0.1",
            **(settings or {}),
        }

    @property
    def dsn(self) -> str:
        """Its embedded database."""
        return EmbeddedPostgres(self.data / "postgres").dsn()

    def start(self) -> Peer:
        """Start; returns when it says that a store would succeed."""
        first = not self.data.exists()
        self.launch([sys.executable, "-m", "annals", "serve", "--data", str(self.data)], self._settings)
        self.wait_for(self._ready)
        if first and self.sink_port:
            self.command("device", "add", SINK_AE_TITLE, "127.0.0.1", str(self.sink_port))
        return self

    def command(self, *arguments: str) -> str:
        """What a command of the command line prints."""
        command = [sys.executable, "-m", "annals", *arguments, "--data", str(self.data)]
        done = subprocess.run(
            command, env={**environment(nagle=False), **self._settings}, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise RuntimeError(f"annals {arguments[0]}: {done.stderr[-400:]}")
        return done.stdout

    def receivers(self) -> list[int]:
        """The processes that receive."""
        return [pid for pid in self.processes() if b"\0dimse\0" in command_line(pid) + b"\0"]

    def settle(self) -> None:
        """Until all facts are read and what is derived of them is made."""
        until(self._is_settled, _SETTLE_SECONDS, "Annals has made what it derives", pause_seconds=0.2)

    def _is_settled(self) -> bool:
        with urllib.request.urlopen(self._health(), timeout=5) as answer:
            reading = json.load(answer)["parts"]["catalogue"]
        return not reading["lag"] and not reading["derived_due"]

    def _ready(self) -> bool:
        return _answers(self._health())

    def _health(self) -> str:
        return f"http://127.0.0.1:{self.http_port}/health/ready"


class Orthanc(Peer):
    """Debian's Orthanc with its SQLite index; files are synced to disk, its default."""

    name = "Orthanc, SQLite"
    ae_title = "ORTHANC"

    def __init__(self, folder: Path, sink_port: int = 0, *, nagle: bool = False) -> None:
        super().__init__(folder, sink_port, nagle=nagle)
        self._http_port = free_port()

    def start(self) -> Peer:
        """Start; returns when its REST interface answers."""
        configuration = {
            "StorageDirectory": str(self.folder / "db"),
            "IndexDirectory": str(self.folder / "db"),
            "HttpPort": self._http_port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomAet": self.ae_title,
            "DicomPort": self.port,
            "DicomAlwaysAllowFind": True,
            "DicomAlwaysAllowGet": True,
            "DicomAlwaysAllowMove": True,
            "DicomModalities": {"sink": [SINK_AE_TITLE, "127.0.0.1", self.sink_port or 104]},
            **self.index(),
        }
        file = self.folder / "orthanc.json"
        file.write_text(json.dumps(configuration), "utf-8")
        self.launch([program("Orthanc"), str(file)])
        self.wait_for(lambda: _answers(f"http://127.0.0.1:{self._http_port}/system") and self.echoes())
        return self

    def index(self) -> dict[str, object]:
        """The part of the configuration that chooses the index."""
        return {"Plugins": []}


class OrthancDicomWeb(Orthanc):
    """Debian's Orthanc with its DICOMweb plugin."""

    name = "Orthanc, DICOMweb plugin"

    def index(self) -> dict[str, object]:
        """The plugin with its defaults."""
        return {"Plugins": [str(DICOMWEB_PLUGIN)], "DicomWeb": {"Enable": True}}

    @property
    def dicomweb_port(self) -> int:
        """Where DICOMweb is."""
        return self._http_port


class OrthancOnPostgres(Orthanc):
    """Orthanc with its PostgreSQL index, on a PostgreSQL of the same version and settings as Annals' own."""

    name = "Orthanc, PostgreSQL"

    def __init__(self, folder: Path, sink_port: int = 0, *, nagle: bool = False) -> None:
        super().__init__(folder, sink_port, nagle=nagle)
        # The embedded server keeps its port number, so it gets a loopback address of its own.
        self._address = ".".join(["127", *(str(random.SystemRandom().randrange(1, 255)) for _ in range(3))])
        self._server = EmbeddedPostgres(folder / "postgres", settings={"listen_addresses": self._address})

    def index(self) -> dict[str, object]:
        """Start the database and name it."""
        self._server.start()
        rules = self._server.data / "pg_hba.conf"
        rules.write_text(rules.read_text("ascii") + "host all all 127.0.0.0/8 scram-sha-256\n", "ascii")
        with psycopg.connect(self._server.dsn("postgres"), autocommit=True) as connection:
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'orthanc'").fetchone():
                role = Identifier("orthanc")
                connection.execute(SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, Literal(_PASSWORD)))
                connection.execute(SQL("CREATE DATABASE {} OWNER {}").format(role, role))
            connection.execute("SELECT pg_reload_conf()")
        return {
            "Plugins": [str(POSTGRES_PLUGIN)],
            "PostgreSQL": {
                "EnableIndex": True,
                "EnableStorage": False,
                "Host": self._address,
                "Port": 5432,
                "Database": "orthanc",
                "Username": "orthanc",
                "Password": _PASSWORD,
                "EnableSsl": False,
            },
        }

    def cpu_seconds(self) -> float:
        """Processor time of all its processes so far, its database's among them."""
        postmaster = int((self._server.data / "postmaster.pid").read_text("ascii").split("\n")[0])
        return super().cpu_seconds() + cpu_seconds(postmaster)

    def stop(self) -> None:
        """Stop it and its database."""
        super().stop()
        self._server.stop()


class Storescp(Peer):
    """DCMTK's storescp, one process an association: keeps files, has no index, syncs nothing."""

    name = "DCMTK storescp"
    ae_title = "STORESCP"
    forks = True

    def start(self) -> Peer:
        """Start; returns when it answers C-ECHO."""
        kept = self.folder / "kept"
        kept.mkdir(exist_ok=True)
        self.launch([program("storescp"), "--fork", *self.options(), "-od", str(kept), str(self.port)])
        self.wait_for(self.echoes)
        return self

    def options(self) -> list[str]:
        """Options of its own."""
        return ["+B"]


class Sink(Storescp):
    """Where C-MOVE sends to: takes everything, keeps nothing."""

    name = "sink"
    ae_title = SINK_AE_TITLE

    def options(self) -> list[str]:
        """Throw away what comes."""
        return ["--ignore"]


class Dcmqrscp(Peer):
    """DCMTK's dcmqrscp, one process an association: keeps files and a flat index file, syncs nothing."""

    name = "DCMTK dcmqrscp"
    ae_title = "DCMQR"
    forks = True
    # Version 3.6.7 has refused objects when several associations came at once.
    at_once = False

    def start(self) -> Peer:
        """Start; returns when it answers C-ECHO."""
        kept = self.folder / "kept"
        kept.mkdir(exist_ok=True)
        file = self.folder / "dcmqrscp.cfg"
        file.write_text(
            f"NetworkTCPPort = {self.port}\nMaxPDUSize = 131072\nMaxAssociations = 32\n"
            f"HostTable BEGIN\nsink = ({SINK_AE_TITLE}, 127.0.0.1, {self.sink_port or 104})\nHostTable END\n"
            "VendorTable BEGIN\nVendorTable END\n"
            f"AETable BEGIN\n{self.ae_title} {kept} RW (10000, 64gb) ANY\nAETable END\n",
            "ascii",
        )
        self.launch([program("dcmqrscp"), "-c", str(file)])
        self.wait_for(self.echoes)
        return self


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.HTTPError, OSError):
        return False
