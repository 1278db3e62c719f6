"""``compressai``: a model of the package CompressAI as the codec of tiles."""
