#!/usr/bin/env bash
# The agent for macOS as far as Debian can tell: it and the backup monitor are type-checked for Apple's
# processors (NIGHTKEEP_MACOS_ARCH=x86_64 for Intel's), and the package is tried. Nothing of it runs on a Mac. The last line is `N passed, N failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
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
packaging/macos/package-test.sh | tee "$log" || true
read -r more _ fewer _ < <(tail -n 1 "$log" | tr -d ,)
echo "$((passed + more)) passed, $((failed + fewer)) failed"
[ $((failed + fewer)) -eq 0 ]
