"""How many connections there may be, in all, of unknown peers and from one address (P14, B23, D21)."""

from __future__ import annotations

import pytest

from adapters.dimse.places import Places
from domain.limits import Limits
from tests.edges import edges


@edges
@pytest.mark.parametrize(
    ("limit", "known", "addresses"),
    [
        ("associations_max", True, 10),
        ("associations_per_address_max", True, 1),
        ("unknown_peer_associations_max", False, 10),
        ("unknown_peer_associations_per_address_max", False, 1),
    ],
)
def test_D21_there_are_so_many_places_and_one_that_is_left_is_taken_again(
    limit: str, known: bool, addresses: int, off: int
) -> None:
    places = Places(Limits(**{limit: 3}))
    taken = [places.take(f"192.0.2.{number % addresses}", known) for number in range(3 + off)]
    assert taken == [True] * min(3, 3 + off) + [False] * max(0, off)
    places.leave("192.0.2.0", known)
    assert places.take("192.0.2.0", known)
