#!/usr/bin/env bash
# The agent for macOS as far as Debian can tell: it and the backup monitor are type-checked for Apple's
# processors (NIGHTKEEP_MACOS_ARCH=x86_64 for Intel's), and the package is tried. Nothing of it runs on a Mac. The last line is `N passed, N failed`.
# packaging/macos/test.sh prepare installs what this needs, and does no more.
set -euo pipefail
cd "$(dirname "$0")/../.."
if [ "${1:-}" = prepare ]; then
    packaging/macos/build.sh prepare
    packaging/macos/package-test.sh prepare
    exit 0
fi
passed=0 failed=0

# Runs a step; tells its seconds.
step() {
    local text=$1 start=$SECONDS
    shift
    if "$@"; then
        passed=$((passed + 1))
        echo "ok      $text ($((SECONDS - start)) s)"
    else
        failed=$((failed + 1))
        echo "FAILED  $text"
    fi
}

architecture=${NIGHTKEEP_MACOS_ARCH:-aarch64}
step "agent and backup monitor are type-checked for $architecture" \
    packaging/macos/build.sh check --locked -p nightkeep-agent -p nightkeep-monitor
log=target/macos/package-tests.log
if [ "$(id -u)" -eq 0 ]; then
    mkdir -p target/macos
    packaging/macos/package-test.sh | tee "$log" || true
    # Without a last line that counts, it came to no end.
    if [[ $(tail -n 1 "$log") =~ ^([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
    else
        failed=$((failed + 1))
        echo "FAILED  the package's claims came to no end"
    fi
else
    echo "NOT RUN the package's claims: they change the root of scripts, which only root may"
fi
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
