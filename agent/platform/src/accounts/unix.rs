//! Linux and macOS: `/etc/passwd` and `/etc/group`, `name:password:number:...` a line. Those of macOS hold its own accounts;
//! people are in a directory service there, and so have numbers only.

use super::Accounts;

pub(super) fn load() -> (Accounts, Accounts) {
    (read("/etc/passwd"), read("/etc/group"))
}

fn read(path: &str) -> Accounts {
    // A container without account files has numbers only.
    std::fs::read(path).map(|text| parse(&String::from_utf8_lossy(&text))).unwrap_or_default()
}

fn parse(text: &str) -> Accounts {
    let mut accounts = Accounts::default();
    for line in text.lines() {
        let mut fields = line.split(':');
        let (Some(name), Some(_), Some(Ok(id))) = (fields.next(), fields.next(), fields.next().map(str::parse::<u32>))
        else {
            continue;
        };
        // The first line of several wins, as it does in the C library.
        accounts.names.entry(id).or_insert_with(|| name.to_owned());
        accounts.ids.entry(name.to_owned()).or_insert(id);
    }
    accounts
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_first_name_of_a_number_wins_and_broken_lines_are_passed_over() {
        let accounts =
            parse("root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/:/bin/sh\n# comment\nbroken:x\nbob:x:1000:1000::/:\n");
        assert_eq!(accounts.names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(accounts.ids.get("toor"), Some(&0));
        assert_eq!(accounts.ids.get("bob"), Some(&1000));
        assert_eq!(accounts.names.len(), 2);
    }
}
