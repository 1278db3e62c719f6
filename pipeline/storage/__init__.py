"""Where bytes lie: on this machine or in a bucket, written whole, read by ranges, tried again."""
