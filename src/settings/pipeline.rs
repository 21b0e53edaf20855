//! Settings of `pipeline`: the wire form (TOML) and its checked form.
