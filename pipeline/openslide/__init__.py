"""Slides of scanners whose formats OpenSlide reads, as an extra (``tilepress[formats]``)."""
