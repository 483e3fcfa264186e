//! What an idle agent may cost.
//!
//! **Invariant**: a target that is missed is printed with its figure like one that is met; what could not be measured says so.
#![expect(clippy::print_stdout, reason = "the table is the product of this program")]

use std::path::Path;

/// Resident memory of the idle agent.
pub(crate) const RESIDENT_MIB_MAX: f64 = 25.0;
/// Processor time of the idle agent, in percent of one core.
pub(crate) const CPU_PERCENT_MAX: f64 = 0.1;
/// An installer.
const INSTALLER_MIB_MAX: f64 = 15.0;

/// A figure beside what it may be.
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) at_most: f64,
    /// None where there is nothing to measure.
    pub(crate) is: Option<f64>,
}

/// The sizes of the installers of this version that lie in `dist`.
pub(crate) fn installers(dist: &Path) -> Vec<Target> {
    let version = env!("CARGO_PKG_VERSION");
    let mut names = vec![format!("nightkeep-agent-{version}.msi")];
    for part in ["agent", "monitor"] {
        names.push(format!("nightkeep-{part}_{version}_amd64.deb"));
        names.push(format!("nightkeep-{part}-{version}-1.x86_64.rpm"));
    }
    names.extend(["aarch64", "x86_64"].map(|arch| format!("nightkeep-agent-{version}-{arch}.pkg")));
    let target = |name: String| {
        let bytes = std::fs::metadata(dist.join(&name)).ok().map(|meta| meta.len());
        Target { name: format!("{name}, MiB"), at_most: INSTALLER_MIB_MAX, is: bytes.map(mib) }
    };
    names.into_iter().map(target).collect()
}

/// Prints the table; answers whether nothing was missed.
pub(crate) fn print(targets: &[Target]) -> bool {
    println!("\n{:<44} {:>8} {:>9}", "target", "at most", "is");
    for target in targets {
        println!("{:<44} {:>8.1} {}", target.name, target.at_most, target.verdict());
    }
    targets.iter().all(|target| target.is.is_none_or(|is| is <= target.at_most))
}

impl Target {
    fn verdict(&self) -> String {
        match self.is {
            Some(is) if is <= self.at_most => format!("{is:>9.3}  met"),
            Some(is) => format!("{is:>9.3}  MISSED"),
            None => "        -  not built: cargo xtask dist".to_owned(),
        }
    }
}

/// Bytes as MiB.
#[expect(clippy::cast_precision_loss, reason = "a figure to look at")]
pub(crate) fn mib(bytes: u64) -> f64 {
    bytes as f64 / 1_048_576.0
}

#[cfg(test)]
mod tests {
    use super::{Target, installers};

    #[test]
    fn what_is_over_is_missed_and_what_is_not_built_says_so() -> std::io::Result<()> {
        let of = |is| Target { name: String::new(), at_most: 15.0, is }.verdict();
        assert!(of(Some(15.0)).ends_with("met"));
        assert!(of(Some(15.01)).ends_with("MISSED"));
        assert!(of(None).contains("not built"));
        let dist = tempfile::tempdir()?;
        let name = format!("nightkeep-agent_{}_amd64.deb", env!("CARGO_PKG_VERSION"));
        std::fs::write(dist.path().join(&name), vec![0; 3 << 20])?;
        let found: Vec<_> = installers(dist.path()).into_iter().filter(|target| target.is.is_some()).collect();
        assert_eq!(found.len(), 1);
        assert!(found[0].name.starts_with(&name) && found[0].is == Some(3.0));
        Ok(())
    }
}
