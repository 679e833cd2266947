"""The command: which parts, how long, where the table goes."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench import converting, dicomweb, find, lag, receive, replay, retrieve, rights, starts, stow, transcode
from bench.objects import Uids
from bench.peers import Annals, Dcmqrscp, Orthanc, OrthancOnPostgres, Peer, Sink, Storescp
from bench.table import Row, rendered

Report = Callable[[Sequence[Row]], None]
PARTS = (
    "receive",
    "as-it-comes",
    "huge",
    "rights",
    "retrieve",
    "dicomweb",
    "find",
    "replay",
    "lag",
    "starts",
    "stow",
    "transcode",
    "converting",
)


def main() -> int:
    """Run the parts that are asked for, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, objects and studies: some five minutes")
    parser.add_argument("--only", metavar="PART", action="append", choices=PARTS, help=f"one of {', '.join(PARTS)}")
    parser.add_argument("--out", type=Path, help="a file that always holds the table as far as it is known")
    asked = parser.parse_args()
    sections: dict[str, list[Row]] = {}

    def reporter(title: str) -> Report:
        def report(rows: Sequence[Row]) -> None:
            for row in rows[len(sections.get(title, ())) :]:
                print(row, file=sys.stderr, flush=True)
            sections[title] = list(rows)
            if asked.out:
                asked.out.write_text(rendered(sections.items()), "utf-8")

        return report

    # Ended by a time limit, it still stops what it has started.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with tempfile.TemporaryDirectory(prefix="annals-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        for part in asked.only or PARTS:
            title, run = _PARTS[part]
            report = reporter(title)
            report(run(folder / part, asked.quick, report))
    print(rendered(sections.items()))
    return 0


@contextmanager
def _peers(folder: Path, *kinds: type[Peer], nagle: bool = False) -> Iterator[list[Peer]]:
    """Running peers that know a running sink."""
    with ExitStack() as stack:
        sink = Sink(folder / "sink")
        stack.callback(sink.stop)
        sink.start()
        peers = []
        for number, kind in enumerate(kinds):
            peer = kind(folder / f"peer{number}", sink.port, nagle=nagle)
            stack.callback(peer.stop)
            peers.append(peer.start())
        yield peers


def _receive(folder: Path, quick: bool, report: Report) -> list[Row]:
    with _peers(folder, Annals, Orthanc, OrthancOnPostgres, Storescp, Dcmqrscp) as peers:
        return receive.measure(peers, folder, Uids(), report, nagle=False, quick=quick)


def _receive_as_it_comes(folder: Path, quick: bool, report: Report) -> list[Row]:
    with _peers(folder, Annals, Orthanc, OrthancOnPostgres, Storescp, nagle=True) as peers:
        return receive.measure(peers, folder, Uids(), report, nagle=True, quick=quick)


def _huge(folder: Path, _quick: bool, _report: Report) -> list[Row]:
    with _peers(folder, Annals, Orthanc, Storescp) as peers:
        return receive.measure_huge(peers, folder, Uids())


def _rights(folder: Path, quick: bool, report: Report) -> list[Row]:
    return rights.measure(folder, quick, Uids(), report)


def _retrieve(folder: Path, quick: bool, report: Report) -> list[Row]:
    with _peers(folder, Annals, Orthanc, OrthancOnPostgres, Dcmqrscp) as peers:
        return retrieve.measure(peers, folder, quick, Uids(), report)


def _dicomweb(folder: Path, quick: bool, report: Report) -> list[Row]:
    return dicomweb.measure(folder, quick, Uids(), report)


def _lag(folder: Path, quick: bool, report: Report) -> list[Row]:
    return lag.measure(folder, quick, Uids(), report)


def _starts(folder: Path, quick: bool, _report: Report) -> list[Row]:
    return starts.measure(folder, quick)


def _stow(folder: Path, quick: bool, report: Report) -> list[Row]:
    return stow.measure(folder, quick, Uids(), report)


def _transcode(folder: Path, quick: bool, report: Report) -> list[Row]:
    return transcode.measure(folder, quick, Uids(), report)


def _converting(folder: Path, quick: bool, report: Report) -> list[Row]:
    return converting.measure(folder, quick, Uids(), report)


_PARTS: dict[str, tuple[str, Callable[[Path, bool, Report], list[Row]]]] = {
    "receive": ("Receive, TCP_NODELAY=1 for DCMTK's client and for the peers", _receive),
    "as-it-comes": (
        "Receive, as it comes: DCMTK's client and the peers leave Nagle's algorithm on",
        _receive_as_it_comes,
    ),
    "huge": ("Receive one object of 2 GB", _huge),
    "rights": ("Receive from one of 200 registered devices, beside accept-any", _rights),
    "retrieve": ("Give back", _retrieve),
    "dicomweb": ("Give back over DICOMweb", _dicomweb),
    "find": ("Find", find.measure),
    "replay": ("Rebuild", replay.measure),
    "lag": ("Lag", _lag),
    "starts": ("Start", _starts),
    "transcode": ("Convert, beside the codec library called alone", _transcode),
    "converting": ("Convert while sending and receiving", _converting),
    "stow": ("Store over HTTP (STOW-RS)", _stow),
}

if __name__ == "__main__":
    sys.exit(main())
