#!/usr/bin/env bash
# Runs a cargo command for macOS on Debian: packaging/macos/build.sh check -p nightkeep-agent
#
# Debian's own compiler brings the source of its standard library, which is built for macOS once and kept in target/macos;
# the C compiler and linker is zig, of PyPI. Apple's processors are meant unless NIGHTKEEP_MACOS_ARCH says x86_64.
# Nothing outside target/ changes but the packages, and those only as root.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly architecture=${NIGHTKEEP_MACOS_ARCH:-aarch64}
case "$architecture" in
    aarch64 | x86_64) ;;
    *) echo "NIGHTKEEP_MACOS_ARCH is '$architecture'; it must be aarch64 or x86_64" >&2; exit 2 ;;
esac
[ $# -gt 0 ] || { echo "usage: packaging/macos/build.sh prepare | CARGO-COMMAND [ARGUMENT...]" >&2; exit 2; }
readonly triple=$architecture-apple-darwin
readonly place=$PWD/target/macos tools=$PWD/target/tools/zig
readonly packages=(rustc-web cargo-web rust-web-src python3-venv)
readonly zig=ziglang==0.17.0

# shellcheck source=packaging/shell.sh
. packaging/shell.sh
require "${packages[@]}"
if [ "$(cat "$tools/installed" 2>/dev/null)" != "$zig" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check "$zig"
    echo "$zig" >"$tools/installed"
fi

# Cargo, and the crates that build C, take a compiler as one path.
mkdir -p "$place/bin"
for tool in cc ar; do
    printf '#!/bin/sh\nexec "%s/packaging/macos/zig.sh" %s %s "$@"\n' "$PWD" "$architecture" $tool >"$place/bin/$triple-$tool"
    chmod +x "$place/bin/$triple-$tool"
done
name=${triple//-/_}
export ZIG_GLOBAL_CACHE_DIR=$place/zig-cache
export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
# What strips a program is not here either.
export CARGO_PROFILE_DEV_STRIP=none CARGO_PROFILE_RELEASE_STRIP=none
# Without this folder the compiler asks for Apple's own tools, which are not here.
export SDKROOT=$place/sdk MACOSX_DEPLOYMENT_TARGET=11.0
mkdir -p "$SDKROOT"
export "CARGO_TARGET_${name^^}_LINKER=$place/bin/$triple-cc"
export "CC_$name=$place/bin/$triple-cc" "AR_$name=$place/bin/$triple-ar"

standard_library "$triple" "$place"
command=$1
shift
[ "$command" != prepare ] || exit 0
export CARGO_TARGET_DIR=$place/build
export "CARGO_TARGET_${name^^}_RUSTFLAGS=--sysroot $place/sysroot"
exec /usr/bin/cargo "$command" --target "$triple" "$@"
