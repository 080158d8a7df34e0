#!/bin/sh
# Run once by the postgres image: the owner migrates, the app role works and owns nothing.
set -eu
psql -v ON_ERROR_STOP=1 -U postgres \
    -v owner_password="$OWNER_DATABASE_PASSWORD" -v app_password="$APP_DATABASE_PASSWORD" <<'SQL'
CREATE ROLE zentra_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE zentra_app LOGIN NOSUPERUSER NOBYPASSRLS PASSWORD :'app_password';
CREATE DATABASE zentra OWNER zentra_owner;
SQL
