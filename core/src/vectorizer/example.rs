//! A vectorizer for tests: on a table with a key and a text, with Ollama and without chunking.

use serde_json::{Value, json};

/// Its definition as the database returns it. `parts` replace those of its configuration.
pub(crate) fn definition(id: i64, parts: Value) -> Value {
    let mut definition = json!({
        "id": id, "name": "blog", "disabled": false, "source_schema": "public", "source_table": "blog",
        "source_pk": [{"attname": "id"}], "queue_schema": "ai", "queue_table": "q", "queue_failed_table": "f",
        "vector": {"schema": "public", "oid": 1, "array_oid": 2}, "lease_found": true, "queue_found": true,
        "columns": [
            {"name": "id", "type": "text", "base": "text", "equals": "operator(pg_catalog.=)"},
            {"name": "body", "type": "text", "base": "text", "equals": null}],
        "config": {
            "loading": {"implementation": "column", "column_name": "body", "retries": 1},
            "embedding": {"implementation": "ollama", "model": "m", "dimensions": 1},
            "chunking": {"implementation": "none"},
            "formatting": {"implementation": "python_template", "template": "$chunk"},
            "destination": {"implementation": "table", "target_schema": "public", "target_table": "s"}}
    });
    if let (Value::Object(config), Value::Object(parts)) = (&mut definition["config"], parts) {
        config.extend(parts);
    }
    definition
}
