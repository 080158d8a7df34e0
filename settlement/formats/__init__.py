"""Provider files as bytes in, parsed rows out. Pure: no database, no settings."""
