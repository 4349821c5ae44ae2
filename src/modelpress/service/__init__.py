"""The use cases: the only callers of the store from above."""
