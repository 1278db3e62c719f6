"""GeoTIFF, and what GDAL reads like it: JPEG 2000, PNG and SRTM height files."""
