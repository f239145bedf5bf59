"""The types of core/v1 as a manifest has them, with the fields that a single machine can honour."""
