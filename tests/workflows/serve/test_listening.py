"""A socket, or one line that says why there is none."""

from __future__ import annotations

import pytest

from tilepress.errors import UsageError
from tilepress.workflows.serve.listening import listening


class TestListening:
    def test_any_port_and_one_in_use(self) -> None:
        with listening("127.0.0.1", 0) as first:
            port = first.getsockname()[1]
            assert port > 0
            with pytest.raises(UsageError, match=f"port {port} is in use"):
                listening("127.0.0.1", port)

    def test_a_host_that_is_not_here(self) -> None:
        with pytest.raises(UsageError, match=r"cannot listen at 192\.0\.2\.1"):
            listening("192.0.2.1", 0)
