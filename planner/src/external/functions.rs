//! Table functions for one kind of source each: `INLINE`, `LOCALFILES`, `HTTP` and `S3`. They take the same things as an
//! EXTERN of that kind, by name, and their columns from EXTEND.

use serde_json::{Map, Value, json};
use sqlparser::ast::{
    Array, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Value as Literal,
};

use crate::error::PlanError;

/// The specs of a call, as EXTERN takes them.
pub struct Specs {
    pub source: Value,
    pub format: Value,
    /// `None` where the columns are to be inferred.
    pub signature: Option<String>,
}

/// Names of all table functions.
pub const NAMES: [&str; 5] = ["EXTERN", "INLINE", "LOCALFILES", "HTTP", "S3"];

/// The specs that a call of `INLINE`, `LOCALFILES`, `HTTP` or `S3` stands for; `None` for any other function.
///
/// # Errors
/// Names the parameter that is missing, unknown or of another type.
pub fn specs(function: &Function) -> Option<Result<Specs, PlanError>> {
    let name = function.name.to_string().to_uppercase();
    let source: fn(&mut Arguments) -> Result<Value, PlanError> = match name.as_str() {
        "INLINE" => inline,
        "LOCALFILES" => local,
        "HTTP" => http,
        "S3" => s3,
        _ => return None,
    };
    Some(Arguments::read(&name, function).and_then(|mut arguments| {
        let signature = arguments.text("signature")?;
        let source = source(&mut arguments)?;
        let format = format(&mut arguments, signature.as_deref())?;
        arguments.none_left()?;
        Ok(Specs {
            source,
            format,
            signature,
        })
    }))
}

/// Named arguments of a call: texts, numbers, truth values and lists of texts.
struct Arguments {
    function: String,
    values: Map<String, Value>,
}

impl Arguments {
    fn read(name: &str, function: &Function) -> Result<Self, PlanError> {
        let mut values = Map::new();
        let list = match &function.args {
            FunctionArguments::List(list) => list.args.as_slice(),
            _ => &[],
        };
        for argument in list {
            let FunctionArg::Named {
                name: parameter,
                arg: FunctionArgExpr::Expr(value),
                ..
            } = argument
            else {
                return Err(PlanError::invalid(format!(
                    "{name} takes its arguments by name, parameter => value; found [{argument}]"
                )));
            };
            let literal = literal(value).ok_or_else(|| {
                PlanError::invalid(format!(
                    "{name}: parameter [{}] is a literal or an ARRAY of texts, found [{value}]",
                    parameter.value
                ))
            })?;
            values.insert(parameter.value.to_lowercase(), literal);
        }
        Ok(Arguments {
            function: name.to_owned(),
            values,
        })
    }

    fn take(&mut self, parameter: &str) -> Option<Value> {
        let value = self.values.shift_remove(&parameter.to_lowercase())?;
        (!value.is_null()).then_some(value)
    }

    fn text(&mut self, parameter: &str) -> Result<Option<String>, PlanError> {
        match self.take(parameter) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => Err(self.mistyped(parameter, "VARCHAR", &other)),
        }
    }

    /// A list of texts; one text is a list of it.
    fn texts(&mut self, parameter: &str) -> Result<Option<Vec<Value>>, PlanError> {
        match self.take(parameter) {
            None => Ok(None),
            Some(Value::Array(texts)) if texts.iter().all(Value::is_string) => Ok(Some(texts)),
            Some(Value::String(text)) => Ok(Some(vec![Value::String(text)])),
            Some(other) => Err(self.mistyped(parameter, "VARCHAR ARRAY", &other)),
        }
    }

    fn mistyped(&self, parameter: &str, expected: &str, found: &Value) -> PlanError {
        let function = &self.function;
        PlanError::invalid(format!(
            "{function}: parameter [{parameter}] is of type {expected}, found [{found}]"
        ))
    }

    fn none_left(&self) -> Result<(), PlanError> {
        match self.values.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(PlanError::invalid(format!(
                "{} has no parameter [{unknown}]",
                self.function
            ))),
        }
    }
}

fn literal(value: &Expr) -> Option<Value> {
    match value {
        Expr::Value(value) => match &value.value {
            Literal::SingleQuotedString(text) | Literal::UnicodeStringLiteral(text) => {
                Some(text.as_str().into())
            }
            Literal::Number(number, _) => number.parse::<u64>().ok().map(Value::from),
            Literal::Boolean(value) => Some((*value).into()),
            Literal::Null => Some(Value::Null),
            _ => None,
        },
        Expr::Array(Array { elem, .. }) => elem
            .iter()
            .map(literal)
            .collect::<Option<Vec<_>>>()
            .map(Value::Array),
        _ => None,
    }
}

/// An object of the members that are there.
fn object(members: impl IntoIterator<Item = (&'static str, Option<Value>)>) -> Value {
    let given = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)));
    Value::Object(given.collect())
}

fn inline(arguments: &mut Arguments) -> Result<Value, PlanError> {
    let rows = arguments
        .texts("data")?
        .filter(|rows| !rows.is_empty())
        .ok_or_else(|| {
            PlanError::invalid("An inline table requires one or more rows of data in the 'data' property")
        })?;
    let rows: Vec<&str> = rows.iter().filter_map(Value::as_str).collect();
    Ok(json!({ "type": "inline", "data": rows.join("\n") + "\n" }))
}

fn local(arguments: &mut Arguments) -> Result<Value, PlanError> {
    let (base_dir, filter) = (arguments.text("baseDir")?, arguments.text("filter")?);
    let files = arguments.texts("files")?.filter(|files| !files.is_empty());
    match (base_dir, files, filter) {
        (None, None, _) => Err(PlanError::invalid(
            "A local input source requires one parameter of baseDir or files",
        )),
        (Some(_), Some(_), Some(_)) => Err(PlanError::invalid(
            "A local input source can set parameter files or filter, but not both.",
        )),
        (None, Some(_), Some(_)) => Err(PlanError::invalid(
            "If a local input source sets parameter filter, it must also set parameter baseDir",
        )),
        (Some(base_dir), Some(files), None) => {
            let base_dir = base_dir.trim_end_matches('/');
            let below = files.iter().filter_map(Value::as_str);
            let files: Vec<String> = below.map(|file| format!("{base_dir}/{file}")).collect();
            Ok(json!({ "type": "local", "files": files }))
        }
        (None, Some(files), None) => Ok(json!({ "type": "local", "files": files })),
        (Some(base_dir), None, filter) => {
            let filter = filter.unwrap_or_else(|| "*".to_owned());
            Ok(json!({ "type": "local", "baseDir": base_dir, "filter": filter }))
        }
    }
}

fn http(arguments: &mut Arguments) -> Result<Value, PlanError> {
    let uris = arguments.texts("uris")?.map(Value::Array);
    if arguments.take("passwordEnvVar").is_some() {
        return Err(PlanError::invalid(
            "HTTP: workers give no environment variables away, so that [passwordEnvVar] is not supported; use [password]",
        ));
    }
    let headers = match arguments.text("headers")? {
        None => None,
        Some(text) => match serde_json::from_str::<Value>(&text) {
            Ok(headers @ Value::Object(_)) => Some(headers),
            _ => {
                return Err(PlanError::invalid(
                    "HTTP: parameter [headers] is a JSON object of texts",
                ));
            }
        },
    };
    let user = arguments.text("userName")?.map(Value::String);
    let password = arguments
        .text("password")?
        .map(|password| json!({ "type": "default", "password": password }));
    Ok(object([
        ("type", Some("http".into())),
        ("uris", uris),
        ("httpAuthenticationUsername", user),
        ("httpAuthenticationPassword", password),
        ("requestHeaders", headers),
    ]))
}

fn s3(arguments: &mut Arguments) -> Result<Value, PlanError> {
    let (uris, prefixes) = (arguments.texts("uris")?, arguments.texts("prefixes")?);
    let (bucket, paths) = (arguments.text("bucket")?, arguments.texts("paths")?);
    let given = [uris.is_some(), prefixes.is_some(), bucket.is_some()];
    if paths.is_some() && bucket.is_none() {
        return Err(PlanError::invalid(
            "S3 requires the bucket parameter if paths is set",
        ));
    }
    match given.iter().filter(|given| **given).count() {
        0 => return Err(PlanError::invalid("S3 requires one of uris, bucket or prefixes")),
        1 => {}
        _ => {
            return Err(PlanError::invalid(
                "S3 accepts only one of uris, bucket or prefixes",
            ));
        }
    }
    let objects = match bucket {
        None => None,
        Some(bucket) => {
            let paths = paths.ok_or_else(|| {
                PlanError::invalid("When using the bucket parameter, paths must also be provided")
            })?;
            let object = |path: Value| json!({ "bucket": bucket, "path": path });
            Some(Value::Array(paths.into_iter().map(object).collect()))
        }
    };
    let glob = arguments.text("objectGlob")?.map(Value::String);
    let mut properties = Map::new();
    for name in ["accessKeyId", "secretAccessKey", "sessionToken", "assumeRoleArn"] {
        if let Some(value) = arguments.text(name)? {
            properties.insert(name.to_owned(), value.into());
        }
    }
    Ok(object([
        ("type", Some("s3".into())),
        ("uris", uris.map(Value::Array)),
        ("prefixes", prefixes.map(Value::Array)),
        ("objects", objects),
        ("objectGlob", glob),
        (
            "properties",
            (!properties.is_empty()).then_some(Value::Object(properties)),
        ),
    ]))
}

/// The format that `format => '…'` and its options name; fields of text formats have the names of the columns, or else those of
/// a header.
fn format(arguments: &mut Arguments, signature: Option<&str>) -> Result<Value, PlanError> {
    let name = arguments
        .text("format")?
        .ok_or_else(|| PlanError::invalid("Must provide a value for the [format] parameter"))?;
    let list_delimiter = arguments.text("listDelimiter")?.map(Value::String);
    let delimiter = arguments.text("delimiter")?.map(Value::String);
    let skip = arguments.take("skipHeaderRows").map(|rows| match rows {
        Value::Bool(skips) => Value::from(u64::from(skips)),
        rows => rows,
    });
    let is_text = matches!(name.as_str(), "csv" | "tsv");
    if !is_text && name != "json" && name != "parquet" && name != "lines" {
        return Err(PlanError::invalid(format!(
            "Format type [{name}] for property [format] is not valid"
        )));
    }
    if !is_text {
        return Ok(json!({ "type": name }));
    }
    let columns = signature.map(|signature| {
        let columns = serde_json::from_str::<Vec<Value>>(signature).unwrap_or_default();
        let names = columns
            .into_iter()
            .filter_map(|mut column| Some(column.get_mut("name")?.take()));
        Value::Array(names.collect())
    });
    Ok(object([
        ("type", Some(name.into())),
        (
            "findColumnsFromHeader",
            columns.is_none().then_some(Value::Bool(true)),
        ),
        ("columns", columns),
        ("listDelimiter", list_delimiter),
        ("delimiter", delimiter),
        ("skipHeaderRows", skip),
    ]))
}
