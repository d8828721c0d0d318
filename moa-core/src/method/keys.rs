//! Keys of nested TOML tables.

use toml::{Table, Value};

/// Calls `put` with every value of a table under its key, dots between the names.
pub fn flatten(prefix: &str, table: &Table, put: &mut impl FnMut(&str, &Value)) {
    for (name, value) in table {
        match value {
            Value::Table(inner) => flatten(&format!("{prefix}{name}."), inner, put),
            value => put(&format!("{prefix}{name}"), value),
        }
    }
}
