"""The same gives the same in one archive, and nothing that matches in another."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from tilepress.pipeline.privacy.keyed import DAYS, MAX_DAYS, MIN_DAYS, PATIENT, UID, Keyed

ONE, OTHER = Keyed(b"\1" * 32), Keyed(b"\2" * 32)


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_replacements_have_their_form_and_depend_on_the_key(text: str):
    wanted = [(UID, text), (PATIENT, text), (DAYS, text)]
    made, again = ONE.replacements(wanted), ONE.replacements(reversed(wanted))
    assert made == again
    assert re.fullmatch(r"2\.25\.[1-9]\d{38}", made[UID, text])
    assert int(made[UID, text][5:]) < 2**128
    assert re.fullmatch(r"TP-[0-9a-f]{12}", made[PATIENT, text])
    assert MIN_DAYS <= int(made[DAYS, text]) <= MAX_DAYS
    others = OTHER.replacements(wanted)
    assert made[UID, text] != others[UID, text]
    assert made[PATIENT, text] != others[PATIENT, text]


def test_names_of_stores_differ_and_tell_nothing():
    names = {ONE.name(f"a/b{number}") for number in range(1000)}
    assert len(names) == 1000
    assert all(re.fullmatch(r"image-[0-9a-f]{12}", name) for name in names)
    assert ONE.name("a") != OTHER.name("a")


def test_the_key_is_in_no_text_of_it():
    assert "\\x01" not in repr(ONE)
    assert "1, 1" not in repr(ONE)
