//! Answers as text for people: a list as a table, an object as lines.

use serde_json::Value;

/// The text of a value. Of rows only these columns are shown; all, when none are named.
pub(super) fn of(value: &Value, columns: &[&str]) -> String {
    match value {
        Value::Array(rows) if rows.is_empty() => "none".into(),
        Value::Array(rows) if rows[0].is_object() => table(rows, columns),
        Value::Object(fields) => {
            let width = fields.keys().map(String::len).max().unwrap_or(0);
            let lines = fields
                .iter()
                .filter(|(k, _)| columns.is_empty() || columns.contains(&k.as_str()));
            let lines = lines.map(|(k, v)| format!("{k:width$}  {}", cell(v)));
            lines.collect::<Vec<_>>().join("\n")
        }
        other => cell(other),
    }
}

fn table(rows: &[Value], columns: &[&str]) -> String {
    let all: Vec<String> = match (columns, rows[0].as_object()) {
        ([], Some(first)) => first.keys().cloned().collect(),
        _ => columns.iter().map(|c| (*c).to_owned()).collect(),
    };
    let mut lines = vec![all.clone()];
    lines.extend(
        rows.iter()
            .map(|r| all.iter().map(|c| cell(&r[c.as_str()])).collect()),
    );
    let widths: Vec<_> = (0..all.len())
        .map(|i| {
            lines
                .iter()
                .map(|l: &Vec<String>| l[i].chars().count())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let line = |cells: &Vec<String>| {
        let padded = cells.iter().zip(&widths).map(|(c, w)| format!("{c:w$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    lines.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".into(),
        Value::String(text) => text.clone(),
        Value::Array(all) if all.iter().all(|v| !v.is_object()) => {
            let all: Vec<_> = all.iter().map(cell).collect();
            all.join(" ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_become_columns_and_objects_lines() {
        let rows = json!([{"a": 1, "bb": "x"}, {"a": 1000, "bb": null}]);
        assert_eq!(of(&rows, &[]), "a     bb\n1     x\n1000  -");
        assert_eq!(of(&rows, &["bb"]), "bb\nx\n-");
        assert_eq!(of(&json!([]), &[]), "none");
        assert_eq!(
            of(&json!({"k": [1, 2], "long": true}), &[]),
            "k     1 2\nlong  true"
        );
    }
}
