"""Deriving: what is made of a series after its receipt, never in its way (design 5, 6; decision 13).

What is to be done is found from state: the rows of :mod:`projections.catalogue.due`. Done twice is done once.
"""

from __future__ import annotations

import logging
from typing import Protocol

from domain.errors import AnnalsError, Because, Refused, Unavailable
from domain.limits import Limits
from projections.catalogue import due
from projections.catalogue.due import Due
from projections.read_model import ReadModel

_LOG = logging.getLogger("annals.deriving")
_FAULT_MAX = 200


class Maker(Protocol):
    """Makes one kind of derived data."""

    kind: str

    def make(self, study_instance_uid: str, series_instance_uid: str) -> None:
        """Make what is missing for a series, remove what is no longer of it. Done already, it costs little.

        Raises :class:`domain.errors.AnnalsError` or :class:`OSError` where it cannot be made; the text holds no
        patient data and is shown to the administrator.
        """
        ...


class Deriver:
    """Makes one kind of derived data for the series for which it is due."""

    def __init__(self, maker: Maker, catalogue: ReadModel, limits: Limits) -> None:
        self._maker = maker
        self._catalogue = catalogue
        self._limits = limits

    def step(self) -> bool:
        """Make the data of one series; whether one was due. Raises :class:`Unavailable` while nothing can be made."""
        limits = self._limits
        with self._catalogue.now() as connection:
            one = due.take(
                connection, self._maker.kind, limits.derivation_rest_seconds, limits.derivation_lease_seconds
            )
        if one is None:
            return False
        try:
            self._maker.make(one.study_instance_uid, one.series_instance_uid)
        except Unavailable as error:
            self._postpone(one, str(error))
            raise
        except Refused as error:
            if error.because is not Because.OUT_OF_RESOURCES:
                self._failed(one, str(error))
                return True
            # A storage is away: nothing is wrong with the series.
            self._postpone(one, str(error))
            raise Unavailable(str(error)) from error
        except (AnnalsError, OSError) as error:
            self._failed(one, getattr(error, "strerror", None) or str(error))
        except Exception as error:  # noqa: BLE001 - whatever one series does to its maker, the others are made
            _LOG.exception("%s of series %s failed", one.kind, one.series_instance_uid)
            self._failed(one, type(error).__name__)
        else:
            with self._catalogue.now() as connection:
                due.made(connection, one)
        return True

    def _postpone(self, one: Due, fault: str) -> None:
        with self._catalogue.now() as connection:
            due.again(connection, one, self._limits.derivation_backoff_seconds, one.attempts - 1, fault, failed=False)

    def _failed(self, one: Due, fault: str) -> None:
        limits = self._limits
        failed = one.attempts >= limits.derivation_attempts_max
        seconds = min(
            limits.derivation_backoff_seconds * 4 ** (one.attempts - 1), limits.derivation_backoff_max_seconds
        )
        _LOG.warning(
            "%s of series %s could not be made (attempt %d%s): %s",
            one.kind,
            one.series_instance_uid,
            one.attempts,
            ", the last" if failed else "",
            ascii(fault[:_FAULT_MAX]),
        )
        with self._catalogue.now() as connection:
            due.again(connection, one, seconds, one.attempts, fault[:_FAULT_MAX], failed=failed)
