"""De-identification: what is removed, kept and replaced, whatever the format of an image."""
