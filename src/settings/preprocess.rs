//! Settings of `preprocess`: the wire form (TOML) and its checked form.
