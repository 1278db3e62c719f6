"""Profiles: values mean what the person who wrote them meant."""

from __future__ import annotations

from pathlib import Path

import pydantic
import pytest

from tilepress.workflows.cluster.profiles import (
    SPECIAL_KEYS,
    USUAL_KEYS,
    AddressProfile,
    BatchProfile,
)

JOB = {"kind": "slurm", "jobs": 1, "cores": 2, "memory": "2GB"}


def profile(**more: object) -> BatchProfile:
    return BatchProfile.model_validate(JOB | more)


class TestSizes:
    """Batch systems mean powers of two, whatever they call them."""

    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("32GB", 32 * 2**30),
            ("32G", 32 * 2**30),
            ("32 gib", 32 * 2**30),
            ("1.5T", 3 * 2**39),
            (2**28, 2**28),
        ],
    )
    def test_units(self, text: object, size: int):
        assert profile(memory=text).memory == size


class TestWalltimes:
    """They are kept as the system takes them, and counted for the worker that must end before."""

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("04:00:00", 14400), ("1-00:00:01", 86401), ("100:30:00", 361800), (None, None)],
    )
    def test_seconds(self, text: str | None, seconds: int | None):
        made = profile(walltime=text)
        assert (made.walltime, made.walltime_s) == (text, seconds)


class TestKeys:
    """What not every batch system takes is a key that may be left out."""

    def test_those_of_some_systems_are_optional(self):
        assert {getattr(profile(), key) for key in (*USUAL_KEYS, *SPECIAL_KEYS)} == {None}

    def test_the_shared_folder_is_an_absolute_path(self):
        assert profile().folder == Path.cwd() / "tilepress-jobs"
        assert profile(shared_folder="~/jobs").folder == Path.home() / "jobs"


class TestAddresses:
    """Keys of an encrypted connection are part of a profile."""

    def test_tls_needs_keys(self):
        files = {"ca": "ca.pem", "cert": "cert.pem", "key": "key.pem"}
        tls = AddressProfile.model_validate(
            {"kind": "address", "address": "tls://host:8786", "tls": files}
        )
        assert tls.tls is not None
        with pytest.raises(pydantic.ValidationError, match="needs tls with ca, cert and key"):
            AddressProfile(kind="address", address="gateway://host")
