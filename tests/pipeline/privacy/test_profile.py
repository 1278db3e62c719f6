"""Options are named as the standard names them; other words are refused, not ignored."""

from __future__ import annotations

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.privacy.profile import OPTIONS, Profile


def test_the_basic_profile_is_always_part_of_it_and_the_order_is_one():
    text = "retain-uids, Clean-Descriptors"
    assert str(Profile.parse(text)) == "basic,clean-descriptors,retain-uids"
    assert Profile.parse("basic") == Profile()
    assert Profile.parse("retain-longitudinal-temporal-information-with-modified-dates") == (
        Profile.parse("basic,retain-longitudinal-modified-dates")
    )


@pytest.mark.parametrize(
    "text", ["", "anonymous", "basic,", "retain-full-dates", "basic;retain-uids"]
)
def test_what_is_no_option_is_refused(text: str):
    with pytest.raises(UsageError, match=r"de-identifying: got .*, want one or more of basic, "):
        Profile.parse(text)


def test_each_option_has_its_code_of_ps3_16():
    """CID 7050, without those that are not offered."""
    codes = {"113100", "113105", "113107", "113108", "113109", "113110", "113112"}
    assert {option.code for option in OPTIONS.values()} == codes
    told = Profile.parse("retain-uids").to_json()
    assert told["codes"] == ["113100", "113110"]
