//! Unix: the environment, in the order in which programs look at it.

pub(super) fn of_user() -> Option<String> {
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter().find_map(|name| {
        let value = std::env::var(name).ok()?;
        (!value.is_empty()).then_some(value)
    })?;
    language(&set)
}

/// `de_DE.UTF-8` is `de`; `C` and `POSIX` are nobody's language.
fn language(locale: &str) -> Option<String> {
    let word = locale.split(['_', '.', '@', '-']).next().unwrap_or_default();
    let is_language = matches!(word.len(), 2 | 3) && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    is_language.then(|| word.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::language;

    #[test]
    fn a_locale_tells_its_language() {
        let check = |locale, expected: Option<&str>| assert_eq!(language(locale).as_deref(), expected, "{locale}");
        check("de_DE.UTF-8", Some("de"));
        check("en", Some("en"));
        check("de-AT", Some("de"));
        check("C", None);
        check("C.UTF-8", None);
        check("POSIX", None);
    }
}
