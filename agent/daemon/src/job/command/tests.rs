//! Real programs: what they get, what is kept of what they say, and that they end.

#![expect(clippy::unwrap_used, reason = "a test that cannot write its list has failed")]

use super::*;
use std::path::Path;

fn allow(dir: &Path, entries: &str) -> Allowed {
    let file = dir.join("commands.toml");
    nightkeep_platform::secret_file::write(&file, entries.as_bytes()).unwrap();
    Allowed::load(&file).unwrap()
}

fn go(entry: &str, stopped: bool) -> Result<(), CommandError> {
    let dir = tempfile::tempdir().unwrap();
    run(&allow(dir.path(), &format!("[x]\n{entry}\n")), "x", &[("NIGHTKEEP_JOB", "j1".to_owned())], || stopped)
}

#[test]
fn without_a_shell_nothing_in_an_argument_is_one_and_with_one_it_is() {
    go(r#"run = ["/bin/sh", "-c", "exit $#", "sh"]"#, false).unwrap();
    let told = go(r#"run = ["/bin/ls", "/nonexistent; exit 0"]"#, false).unwrap_err().to_string();
    assert!(told.contains("/nonexistent; exit 0"), "{told}");
    go(r#"shell = "ls /nonexistent; exit 0""#, false).unwrap();
}

#[test]
fn a_command_sees_the_job_and_nothing_else_of_ours() {
    go(r#"shell = '[ "$NIGHTKEEP_JOB" = j1 ]'"#, false).unwrap();
    go(r#"shell = '[ -z "$CARGO" ] && [ -z "$CARGO_MANIFEST_DIR" ]'"#, false).unwrap();
    assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some(), "there is something to hide");
}

#[test]
fn a_failure_tells_its_code_and_last_words_and_output_is_bounded() {
    let error = go(r#"shell = "yes 0123456789 | head -c 5000000; echo; echo no space; exit 7""#, false).unwrap_err();
    let CommandError::Failed { status, output } = &error else { panic!("{error:?}") };
    assert_eq!(status.code(), Some(7));
    assert_eq!(output.len(), OUTPUT_BYTES_MAX);
    assert!(error.to_string().contains("7: no space"), "{error}");
}

#[test]
fn a_command_that_takes_too_long_or_whose_run_is_stopped_is_ended_with_all_it_started() {
    let begun = Instant::now();
    let error = go("shell = \"echo begun; sleep 600 & sleep 600\"\ntimeout_seconds = 1", false).unwrap_err();
    assert!(matches!(&error, CommandError::TimedOut { .. }), "{error:?}");
    assert!(error.to_string().contains("1 seconds and was ended: begun"), "{error}");
    assert!(matches!(go(r#"run = ["/bin/sleep", "600"]"#, true), Err(CommandError::Stopped)));
    assert!(begun.elapsed() < Duration::from_secs(60));
}

#[test]
fn a_command_that_leaves_something_running_is_over_when_it_is() {
    let begun = Instant::now();
    go(r#"shell = "sleep 20 & exit 0""#, false).unwrap();
    assert!(begun.elapsed() < Duration::from_secs(15), "{:?}", begun.elapsed());
}

#[test]
fn what_others_could_have_written_is_never_run() {
    use std::os::unix::fs::PermissionsExt;
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (program, ran) = (dir.path().join("program"), dir.path().join("ran"));
    std::fs::write(&program, format!("#!/bin/sh\ntouch {}\n", ran.display())).unwrap();
    mode(&program, 0o755);
    let list = format!("[x]\nrun = [{:?}]\n", program.display().to_string());
    let allowed = allow(dir.path(), &list);
    mode(&program, 0o777);
    let error = run(&allowed, "x", &[], || false).unwrap_err();
    assert!(matches!(error, CommandError::Allowed(AllowedError::Untrusted(_))), "{error:?}");
    assert!(!ran.exists());
    mode(&program, 0o755);
    run(&allowed, "x", &[], || false).unwrap();
    assert!(ran.exists());
    let file = dir.path().join("commands.toml");
    mode(&file, 0o666);
    let told = Allowed::load(&file).unwrap_err();
    assert!(matches!(told, AllowedError::Untrusted(_)), "{told:?}");
}
