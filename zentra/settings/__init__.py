"""Settings: `local` for a checkout (embedded defaults), `test` for the suite, `production` for a deployment."""
