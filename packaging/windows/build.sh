#!/usr/bin/env bash
# Runs a cargo command for Windows on Debian, tests under Wine: packaging/windows/build.sh check -p nightkeep-platform
#
# Debian's own compiler brings the source of its standard library, which is built for Windows once and kept in
# target/windows; the C compiler is mingw-w64. Nothing outside target/ changes but the packages, and those only as root.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly triple=x86_64-pc-windows-gnu
readonly place=$PWD/target/windows
readonly packages=(rustc-web cargo-web rust-web-src gcc-mingw-w64-x86-64-posix g++-mingw-w64-x86-64-posix binutils-mingw-w64-x86-64)
readonly wine_packages=(wine wine64 wixl msitools)

. packaging/shell.sh
require "${packages[@]}"
export RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc-posix
export CC_x86_64_pc_windows_gnu=x86_64-w64-mingw32-gcc-posix
export CXX_x86_64_pc_windows_gnu=x86_64-w64-mingw32-g++-posix
export AR_x86_64_pc_windows_gnu=x86_64-w64-mingw32-ar

standard_library $triple "$place"

# A Windows of Wine's, for tests alone. Wine 8 lacks the library that the standard library takes random numbers from.
prepare_wine() {
    require "${wine_packages[@]}"
    export WINEPREFIX=$place/wine WINEARCH=win64 WINEDEBUG=-all
    unset DISPLAY
    if [ ! -f "$WINEPREFIX/ready" ]; then
        mkdir -p "$WINEPREFIX"
        wineboot -i >/dev/null 2>&1
        x86_64-w64-mingw32-gcc-posix -shared -O2 -o "$WINEPREFIX/drive_c/windows/system32/bcryptprimitives.dll" \
            packaging/windows/bcryptprimitives.c -ladvapi32
        touch "$WINEPREFIX/ready"
    fi
    export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER=wine NIGHTKEEP_UNDER_WINE=1
}

case "${1:-}" in
    "") echo "usage: packaging/windows/build.sh prepare | CARGO-COMMAND [ARGUMENT...]" >&2; exit 2 ;;
    prepare) prepare_wine; exit 0 ;;
    test | run) prepare_wine ;;
esac
command=$1
shift
export CARGO_TARGET_DIR=$place/build
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUSTFLAGS="--sysroot $place/sysroot"
exec /usr/bin/cargo "$command" --target $triple "$@"
