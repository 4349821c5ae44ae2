"""The HTTP API: one table of actions over the services, the wire's forms, errors with their statuses."""
