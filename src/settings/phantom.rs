//! Settings of `phantom`: the wire form (TOML) and its checked form.
