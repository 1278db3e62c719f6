"""Read TIFF images whose tiles are JPEG 2000 codestreams, which GDAL does not decode.

That is Aperio's slides (Compression 33003: Y, Cb, Cr; 33005: R, G, B), Leica's 33004 and 34712.
GDAL is shown the directory with another Compression, in a file without blocks, so that what is
said of such an image is read as of all others; its samples are decoded here, block by block.
"""

from __future__ import annotations
