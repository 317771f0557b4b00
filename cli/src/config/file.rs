//! The file: TOML, with settings of all roles at the top and those of one in a table of its name.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Command, builder::OsStr};
use toml::{Table, Value};

use super::{ROLES, settings};
use crate::Outcome;

/// What a file says.
#[derive(Debug)]
pub struct Settings {
    path: PathBuf,
    /// For every role that has them.
    common: BTreeMap<String, Vec<String>>,
    /// For one role.
    own: BTreeMap<String, BTreeMap<String, Vec<String>>>,
}

impl Settings {
    /// # Errors
    /// When the file is missing, is no TOML, or holds values that are no setting's.
    pub fn read(path: PathBuf) -> Outcome<Self> {
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("configuration file {}: {error}", path.display()))?;
        let table: Table = text
            .parse()
            .map_err(|error| format!("configuration file {}: {error}", path.display()))?;
        let mut settings = Settings {
            path,
            common: BTreeMap::new(),
            own: BTreeMap::new(),
        };
        for (key, value) in table {
            match value {
                Value::Table(table) => {
                    let own = table.into_iter().map(|(name, value)| {
                        let place = format!("{key}.{name}");
                        Ok((name, settings.values(&place, value)?))
                    });
                    let own = own.collect::<Outcome<_>>()?;
                    settings.own.insert(key, own);
                }
                value => {
                    let values = settings.values(&key, value)?;
                    settings.common.insert(key, values);
                }
            }
        }
        Ok(settings)
    }

    fn values(&self, key: &str, value: Value) -> Outcome<Vec<String>> {
        let one = |value: Value| match value {
            Value::String(text) => Ok(text),
            Value::Integer(number) => Ok(number.to_string()),
            Value::Float(number) => Ok(number.to_string()),
            Value::Boolean(flag) => Ok(flag.to_string()),
            other => Err(format!(
                "configuration file {}: `{key}` has a value of type {}: expected a string, a number, a boolean or a list of them",
                self.path.display(),
                other.type_str()
            )),
        };
        let values = match value {
            Value::Array(values) => values.into_iter().map(one).collect::<Result<_, _>>()?,
            value => vec![one(value)?],
        };
        Ok(values)
    }

    /// Refuses what no role knows, with the nearest name that one does.
    ///
    /// # Errors
    /// For the first unknown table or setting.
    pub fn check(&self, command: &Command) -> Outcome {
        let names = |role: &str| -> Vec<String> {
            let role = command.find_subcommand(role);
            let names = role
                .into_iter()
                .flat_map(settings)
                .filter_map(clap::Arg::get_long);
            names.map(str::to_owned).collect()
        };
        let all: Vec<String> = ROLES.into_iter().flat_map(names).collect();
        for key in self.common.keys() {
            if !all.contains(key) {
                return Err(self.unknown(&format!("`{key}`"), key, "any role", all));
            }
        }
        for (role, own) in &self.own {
            if !ROLES.contains(&role.as_str()) {
                let roles = ROLES.map(str::to_owned).to_vec();
                return Err(self.unknown(&format!("the table `[{role}]`"), role, "any role", roles));
            }
            let known = names(role);
            if let Some(key) = own.keys().find(|key| !known.contains(key)) {
                return Err(self.unknown(
                    &format!("`{key}` in `[{role}]`"),
                    key,
                    &format!("`sarsen {role}`"),
                    known,
                ));
            }
        }
        Ok(())
    }

    fn unknown(
        &self,
        what: &str,
        key: &str,
        whose: &str,
        known: Vec<String>,
    ) -> Box<dyn std::error::Error + Send + Sync> {
        let nearest = nearest(key, known, 0.7);
        let hint = nearest.map_or(String::new(), |name| format!("; did you mean `{name}`?"));
        format!(
            "configuration file {}: {what} is not a setting of {whose}{hint}",
            self.path.display()
        )
        .into()
    }

    /// Values of a role's setting, if the file has any.
    pub fn of(&self, role: &str, setting: &str) -> Option<&Vec<String>> {
        let own = self.own.get(role).and_then(|own| own.get(setting));
        own.or_else(|| self.common.get(setting))
    }

    /// A role whose settings have the file's values by default.
    pub fn apply(&self, role: Command) -> Command {
        let name = role.get_name().to_owned();
        let values: Vec<_> = settings(&role)
            .filter_map(|argument| {
                let values = self.of(&name, argument.get_long()?)?.clone();
                Some((argument.get_id().clone(), values))
            })
            .collect();
        values.into_iter().fold(role, |role, (id, values)| {
            role.mut_arg(id, |argument| {
                let values = values.into_iter().map(OsStr::from);
                argument.required(false).default_values(values)
            })
        })
    }

    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

/// The known name that is most like `name`, if it is at least so similar (0 to 1).
pub fn nearest(name: &str, known: impl IntoIterator<Item = String>, similarity: f64) -> Option<String> {
    let scored = known
        .into_iter()
        .map(|known| (strsim::jaro_winkler(name, &known), known));
    let (score, known) = scored.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    (score >= similarity).then_some(known)
}
