"""What is left of a text names nobody; codes of the standard and of scanners stay codes."""

from __future__ import annotations

import pytest

from tilepress.pipeline.privacy.words import cleaned, is_code


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("CT Thorax 1.5mm B30f", "CT Thorax 1.5mm B30f"),
        ("AX T2 FLAIR - Müller, Hans 12.03.1965", "AX T2 FLAIR"),
        ("DOE^JANE", ""),
        ("Knee left (Dr. Smith) 555-1234", "Knee left"),
        ("ep2d_diff_b1000_ADC", "b1000 ADC"),
        ("L5-S1 sagittal", "L5-S1 sagittal"),
        ("1234567 20200517 00042", ""),
        ("JD65", ""),
        ("CHEST 5 mm 2.5mm 120 kV", "CHEST 5mm 2.5mm 120kV"),
        ("7193/8820 4471/0931", ""),
        ("b1985 t12 8712x 4499%", "t12"),
        ("t1_mprage_sag_p2_iso", "t1 mprage sag"),
        ("", ""),
        ("\u0000\u0007", ""),
    ],
)
def test_a_description_keeps_words_that_are_known(text: str, left: str):
    assert cleaned(text) == left


@pytest.mark.parametrize(
    "code",
    [
        "MONOCHROME2",
        "ORIGINAL",
        "ISO_IR 100",
        "ISO 2022 IR 87",
        "HFS",
        "M",
        "YBR_FULL_422",
        "HFR",
        "0001",
        "CT_SOM5 SPI",
    ],
)
def test_terms_of_the_standard_are_codes(code: str):
    assert is_code(code)


@pytest.mark.parametrize(
    "code",
    [
        *("DOE", "JANE_DOE", "12345678", "SMITH 65", "", "ORIGINAL_DOE"),
        *("719-88-0431", "J_O_H_N", "J O H N D O E", "555-123"),
    ],
)
def test_names_and_numbers_are_none(code: str):
    assert not is_code(code)
