"""The database: schema, migrations, statements; SQLite and PostgreSQL with one meaning. Secrets are encrypted here."""
