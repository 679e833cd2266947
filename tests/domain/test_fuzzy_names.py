"""Names that are meant alike (PS3.4 C.2.2.2.1.1), and names that are not."""

from __future__ import annotations

import pytest

from domain.fuzzy_name import is_alike, words


@pytest.mark.parametrize(
    ("wanted", "name"),
    [
        ("Shcherbakov", "Щербаков^Евгений"),
        ("Щербаков", "SHCHERBAKOV^EVGENY"),
        ("Kowalski^Jan", "KOVALSKI^JAN"),
        ("Чайковский", "Tchaikovsky^Piotr"),
        ("Mueller", "MÜLLER^JÖRG"),
        ("Иванов Иван", "Ivanov^Ivan"),
        ("Ivnov", "Ivanov"),
        ("Ivanvo", "Ivanov"),
        ("Yama", "Yamada^Tarou=山田^太郎"),
        ("太郎", "Yamada^Tarou=山田^太郎"),
    ],
)
def test_C7_3_alike(wanted: str, name: str) -> None:
    """PS3.18 8.3.4.2, PS3.4 C.2.2.2.1.1."""
    assert is_alike(words(wanted), words(name.replace("=", " ")))


@pytest.mark.parametrize(
    ("wanted", "name"), [("Petrov", "Ivanov"), ("Ivanov^Anna", "Ivanov^Boris"), ("Li", "Liu"), ("Ivv", "Ivanov")]
)
def test_C7_3_not_alike(wanted: str, name: str) -> None:
    """PS3.18 8.3.4.2, PS3.4 C.2.2.2.1.1."""
    assert not is_alike(words(wanted), words(name))
