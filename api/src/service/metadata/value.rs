//! What values a namespace takes, by its `JsonDefinition` in the form of Pydio Cells. Pure.
//!
//! Source: `{"type": …, "data": {"items": [{"key", "value"}]}}`; in older definitions `data` of a choice is the text `key|label,key|label`.

use serde_json::Value;

/// A definition that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Definition {
    kind: Kind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    /// Any JSON.
    Any,
    Text,
    Integer,
    Boolean,
    Date,
    Stars,
    Tags,
    /// One of these keys; none: any text.
    Choice(Vec<String>),
}

/// Stars that can be given.
const STARS_MAX: i64 = 5;

impl Definition {
    /// Reads a definition; an empty one takes any JSON.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self { kind: Kind::Any });
        }
        let definition: Value = serde_json::from_str(text).map_err(|error| format!("it is no JSON: {error}"))?;
        let kind = match definition.get("type").and_then(Value::as_str) {
            Some("string" | "textarea" | "css_label") => Kind::Text,
            Some("integer") => Kind::Integer,
            Some("boolean") => Kind::Boolean,
            Some("date") => Kind::Date,
            Some("stars_rate") => Kind::Stars,
            Some("tags") => Kind::Tags,
            Some("choice") => Kind::Choice(keys(definition.get("data"))),
            Some("json") => Kind::Any,
            other => {
                return Err(format!(
                    "type: {} is none of string, textarea, integer, boolean, date, stars_rate, tags, choice, css_label and json",
                    other.unwrap_or("nothing")
                ));
            }
        };
        Ok(Self { kind })
    }

    pub(super) fn is_tags(&self) -> bool {
        self.kind == Kind::Tags
    }

    /// Checks a value, a JSON text.
    pub(super) fn check(&self, json: &str) -> Result<(), String> {
        let value: Value = serde_json::from_str(json).map_err(|error| format!("JsonValue: it is no JSON text: {error}"))?;
        let wanted = match &self.kind {
            Kind::Any => return Ok(()),
            Kind::Text => (value.is_string(), "a text in quotes".to_owned()),
            Kind::Integer => (whole(&value).is_some(), "a whole number".to_owned()),
            Kind::Boolean => (value.is_boolean(), "true or false".to_owned()),
            Kind::Date => (is_date(&value), "a date: seconds since 1970, or as 2026-11-20".to_owned()),
            Kind::Stars => (whole(&value).is_some_and(|stars| (0..=STARS_MAX).contains(&stars)), format!("0 to {STARS_MAX} stars")),
            Kind::Tags => (are_tags(&value), "tags: a text with commas between them, or a list of texts".to_owned()),
            Kind::Choice(keys) if keys.is_empty() => (value.is_string(), "a text in quotes".to_owned()),
            Kind::Choice(keys) => {
                let known = value.as_str().is_some_and(|value| value.is_empty() || keys.iter().any(|key| key == value));
                (known, format!("one of {}", keys.join(", ")))
            }
        };
        if wanted.0 { Ok(()) } else { Err(format!("JsonValue: it takes {}", wanted.1)) }
    }
}

/// A whole number, also as some clients send it: in quotes.
fn whole(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn is_date(value: &Value) -> bool {
    let is_written = |text: &str| {
        let day = time::format_description::well_known::Iso8601::DATE;
        time::Date::parse(text, &day).is_ok() || time::OffsetDateTime::parse(text, &time::format_description::well_known::Rfc3339).is_ok()
    };
    whole(value).is_some() || value.as_str().is_some_and(is_written)
}

fn are_tags(value: &Value) -> bool {
    value.is_string() || value.as_array().is_some_and(|tags| tags.iter().all(Value::is_string))
}

/// The keys of a choice in either form.
fn keys(data: Option<&Value>) -> Vec<String> {
    match data {
        Some(Value::String(text)) => {
            text.split(',').filter_map(|item| item.split('|').next()).filter(|key| !key.is_empty()).map(str::to_owned).collect()
        }
        Some(data) => data
            .get("items")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|item| item.get("key").and_then(Value::as_str).map(str::to_owned))
            .collect(),
        None => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::Definition;

    fn takes(definition: &str, json: &str) -> bool {
        Definition::parse(definition).expect("a definition").check(json).is_ok()
    }

    #[test]
    fn each_type_takes_its_values_only() {
        for (kind, good, bad) in [
            ("string", "\"a\"", "7"),
            ("textarea", "\"a\\nb\"", "{}"),
            ("css_label", "\"low\"", "[]"),
            ("integer", "-7", "1.5"),
            ("integer", "\"12\"", "\"twelve\""),
            ("boolean", "true", "\"true\""),
            ("date", "1751000000", "\"soon\""),
            ("date", "\"2026-11-20\"", "\"2026-13-40\""),
            ("date", "\"2026-11-20T08:00:00Z\"", "true"),
            ("stars_rate", "5", "6"),
            ("tags", "\"a,b\"", "7"),
            ("tags", "[\"a\",\"b\"]", "[1]"),
        ] {
            let definition = format!("{{\"type\":\"{kind}\"}}");
            assert!(takes(&definition, good), "{kind} {good}");
            assert!(!takes(&definition, bad), "{kind} {bad}");
        }
        assert!(takes("{\"type\":\"json\"}", "{\"a\":[1]}") && takes("", "null"));
        assert!(!takes("", "not json"), "whatever is noted is a JSON text");
    }

    #[test]
    fn a_choice_takes_its_keys_in_both_forms_of_a_definition() {
        let items = r#"{"type":"choice","data":{"items":[{"key":"low","value":"Low"},{"key":"high","value":"High"}]}}"#;
        let text = r#"{"type":"choice","data":"low|Low,high|High"}"#;
        for definition in [items, text] {
            assert!(takes(definition, "\"low\"") && takes(definition, "\"high\""), "{definition}");
            assert!(!takes(definition, "\"Low\""), "{definition}");
        }
        assert!(takes(r#"{"type":"choice"}"#, "\"anything\""));
    }

    #[test]
    fn what_is_no_definition_is_refused_with_a_sentence() {
        assert!(Definition::parse("{").expect_err("refused").contains("JSON"));
        assert!(Definition::parse("{\"type\":\"colour\"}").expect_err("refused").contains("colour"));
        assert!(Definition::parse("{}").is_err());
    }
}
