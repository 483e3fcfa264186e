#!/usr/bin/env bash
# zig as C compiler, linker and archiver for one triple, without the flags of Apple's own tools that it does not take:
# packaging/macos/zig.sh aarch64|x86_64 cc|ar [ARGUMENT...]
set -euo pipefail
readonly architecture=$1 tool=$2
shift 2
here=$(cd "$(dirname "$0")/../.." && pwd)
readonly zig=$here/target/tools/zig/bin/python
[ "$tool" != ar ] || exec "$zig" -m ziglang ar "$@"
arguments=()
skip=
for argument in "$@"; do
    if [ -n "$skip" ]; then
        skip=
        continue
    fi
    case "$argument" in
        --target=* | -mmacosx-version-min=* | -mmacos-version-min=* | -fembed-bitcode* | -gdwarf*) ;;
        -arch | -isysroot | -target) skip=1 ;;
        *) arguments+=("$argument") ;;
    esac
done
exec "$zig" -m ziglang cc -target "$architecture-macos.11.0-none" "${arguments[@]}"
