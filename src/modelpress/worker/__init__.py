"""The worker: the supervisor that claims tasks, and the process that does one attempt."""
