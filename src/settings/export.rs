//! Settings of `export`: the wire form (TOML) and its checked form.
