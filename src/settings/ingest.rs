//! Settings of `ingest`: the wire form (TOML) and its checked form.
