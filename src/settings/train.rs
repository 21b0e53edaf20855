//! Settings of `train`: the wire form (TOML) and its checked form.
