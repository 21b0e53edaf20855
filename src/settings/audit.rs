//! Settings of `audit`: the wire form (TOML) and its checked form.
