//! The host's program: hands the command line over and ends with its code.

fn main() -> std::process::ExitCode {
    nightkeep_host::cli::run()
}
