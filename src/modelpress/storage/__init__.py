"""Buckets: named storage roots."""
