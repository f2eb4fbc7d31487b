"""The scoring engine: a collection in, fields and a report out."""
