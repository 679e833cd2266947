"""What a copy that was compressed with loss is called and says of itself (C8.1; PS3.3 C.7.6.1.1.5, PS3.5 9.1, B.2)."""

from hypothesis import given
from hypothesis import strategies as st

from domain.derivation import DESCRIPTION_MAX, copy_uid, derived_type, description
from domain.transcoding import JPEG_2000, JPEG_BASELINE, LOSSY

UIDS = st.from_regex(r"\A[12](\.(0|[1-9][0-9]{0,5})){2,9}\Z")
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=1100)


def test_C8_1_the_UID_of_a_copy_never_changes() -> None:
    assert copy_uid("1.2.3", JPEG_BASELINE) == "2.25.171900250053485015840495008151445659115"


@given(UIDS, UIDS, st.sampled_from(sorted(LOSSY)))
def test_C8_1_the_UID_of_a_copy_is_one_of_its_own(one: str, other: str, syntax: str) -> None:
    uid = copy_uid(one, syntax)
    root, number = uid.rsplit(".", 1)
    assert (root, str(int(number))) == ("2.25", number)
    assert len(uid) <= 64
    assert int(number) < 1 << 128
    assert (copy_uid(other, syntax) == uid) == (other == one)
    assert (copy_uid(one, JPEG_2000) == uid) == (syntax == JPEG_2000)


@given(TEXTS, st.floats(0.1, 1e6))
def test_C8_1_a_description_has_its_earlier_text_whole_or_is_left_alone(earlier: str, ratio: float) -> None:
    said = description(earlier, "ISO_15444_1", ratio)
    kept = earlier.rstrip(" \0")
    if said is None:
        assert len(kept) + len(f"; Lossy compression (ISO_15444_1), ratio {ratio:.2f}:1") > DESCRIPTION_MAX
    else:
        assert said.startswith(kept)
        assert said.endswith(f"Lossy compression (ISO_15444_1), ratio {ratio:.2f}:1")
        assert len(said) <= DESCRIPTION_MAX


def test_C8_1_a_description_may_be_just_as_long_as_the_standard_lets_it() -> None:
    room = DESCRIPTION_MAX - len("; Lossy compression (ISO_15444_1), ratio 2.00:1")
    whole = description("x" * room, "ISO_15444_1", 2.0)
    assert whole is not None
    assert len(whole) == DESCRIPTION_MAX
    assert description("x" * (room + 1), "ISO_15444_1", 2.0) is None


def test_C8_1_only_the_first_value_of_the_image_type_says_that_it_is_derived() -> None:
    assert derived_type("ORIGINAL\\PRIMARY\\AXIAL") == "DERIVED\\PRIMARY\\AXIAL"
    assert derived_type("MIXED\\SECONDARY\\\\NONE ") == "DERIVED\\SECONDARY\\\\NONE"
    assert derived_type("") == derived_type("ORIGINAL") == "DERIVED\\PRIMARY"
