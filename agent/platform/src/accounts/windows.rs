//! Windows: account names are not looked up yet.

use super::Accounts;

pub(super) fn load() -> (Accounts, Accounts) {
    (Accounts::default(), Accounts::default())
}
