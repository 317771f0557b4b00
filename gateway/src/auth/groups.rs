//! Which groups a group mapping is for (Druid: LDAPRoleProvider).

/// Whether a mapping's pattern is for a group: the group itself, all below a name (`*,OU=x`), all that begin so
/// (`CN=x,*`), or every group (`*`). Names of directories compare without regard to case and to spaces after commas.
pub fn matches(pattern: &str, group: &str) -> bool {
    let (pattern, group) = (plain(pattern), plain(group));
    if pattern == "*" {
        return true;
    }
    if let Some(suffix) = pattern.strip_prefix("*,") {
        return group == suffix || group.strip_suffix(suffix).is_some_and(|rest| rest.ends_with(','));
    }
    if let Some(prefix) = pattern.strip_suffix(",*") {
        return group == prefix
            || group
                .strip_prefix(prefix)
                .is_some_and(|rest| rest.starts_with(','));
    }
    pattern == group
}

fn plain(name: &str) -> String {
    let parts: Vec<&str> = name.split(',').map(str::trim).collect();
    parts.join(",").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_are_whole_names_or_end_at_a_comma() {
        assert!(matches("CN=a,OU=x", "cn=a, ou=x") && matches("*", "etl"));
        assert!(matches("*,OU=x", "CN=a,OU=x") && matches("CN=a,*", "CN=a,OU=x"));
        for (pattern, group) in [
            ("*,OU=x", "CN=a,OU=yOU=x"),
            ("CN=a,*", "CN=ab,OU=x"),
            ("etl", "etl2"),
            ("", "etl"),
        ] {
            assert!(!matches(pattern, group), "{pattern} {group}");
        }
    }
}
