"""JPEG 2000 codestreams of Y, Cb, Cr whose colours have fewer samples, which OpenJPEG's program
``opj_compress`` has made: imagecodecs writes none."""

from __future__ import annotations

import base64

__all__ = ["HALF", "QUARTER"]

HALF = base64.b64decode(
    "/0//UQAvAAAAAAAgAAAAIAAAAAAAAAAAAAAAIAAAACAAAAAAAAAAAAADBwEBBwIBBwIB/1IADAAAAAEAAQQEAAD/"
    "XAALQkgkV9NX01di/2QAJQABQ3JlYXRlZCBieSBPcGVuSlBFRyB2ZXJzaW9uIDIuNS4w/5AACgAAAAABDQAB/5PP"
    "lswRUErEyHBPag/Uhvl+ncvQm9KjnWhyaL+N0qv+wPe1qUUiUH4dCkcSXW0zTzmczB8mT1xMmfTkXADE16gg4Xd0"
    "MXHfAeXgyMS1Yl48jxkkrtfvcNZqmN0B6cdy+KcxnIH+2WiHEkbHxIgRJfeB+zblFhDg7PARH28CER10hB26Qhol"
    "v0muxYwWsRuB3zOghV1OeT5CZxSTl7eMW0bk1JAScRHF8ZMSd0vbobUZOmNF9hMS3knEJI8ONToNVLyi19O1AiKb"
    "+6vfOMfAJB4WfSHArZzLVq278WWdrbIkB9ds6IDHxBY+YVDhAIRP2jOWhRxc9yWcdPzGh4Ri7E7/2Q=="
)
"""32 × 32 samples, half of the columns of Cb and Cr: what Aperio's scanners write."""

QUARTER = base64.b64decode(
    "/0//UQAvAAAAAAAgAAAAIAAAAAAAAAAAAAAAIAAAACAAAAAAAAAAAAADBwEBBwICBwIC/1IADAAAAAEAAQQEAAD/"
    "XAALQkgkV9NX01di/2QAJQABQ3JlYXRlZCBieSBPcGVuSlBFRyB2ZXJzaW9uIDIuNS4w/5AACgAAAAABDwAB/5PP"
    "m0IAEVBKxMhwT2oP1Ib5fp3L0JvSo51ocmi/jdKr/sD3talFIlB+HQpHEl1tM085nMwfJk9cTJn05FwAxNeoIOF3"
    "dDFx3wHl4MjEtWJePI8ZJK7X73DWapjdAenHcvinMZyB/tlohxJGWHEC7JuWyX4+rrNg4ST853Jpy7I085qiSd2X"
    "TaSgx8ZkESYHUPeAByUfXcSokS7xMNYYmwGHaX4+Tc+ZGBP/QmV8TWW5j3cmFUrXdF+x9RznqUsx8dg64/TKjHqq"
    "qq6Jx8waD4Up9QoArZzLVhMarbvxZZ1q280AVNZPQjqpFkjzrbIkB9ds6BMSJSOsyAIp1HHyjJSAgP/Z"
)
"""The same with half of the rows, too."""
