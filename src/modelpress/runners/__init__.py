"""Runners: where a task's process runs."""
