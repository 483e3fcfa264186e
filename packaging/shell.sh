# What the scripts of several systems share; to be sourced.

# Installs the Debian packages that are missing, or says which.
require() {
    local missing=()
    for package in "$@"; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "missing packages: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -q -o DPkg::Lock::Timeout=300 >&2
    apt-get install -y -q --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" >&2
}

# The standard library for a triple, of Debian's own compiler, as a folder $place/sysroot that the compiler takes for its
# own; built once, from an empty program. It needs the triple's linker in the environment.
standard_library() {
    local target=$1 folder=$2 version mark
    version=$(/usr/bin/rustc --version)
    mark=$folder/sysroot/version-$target
    [ "$(cat "$mark" 2>/dev/null)" != "$version" ] || return 0
    rm -rf "$folder/std" "$mark" "$folder/sysroot/lib/rustlib/$target"
    mkdir -p "$folder/std/src" "$folder/sysroot/lib/rustlib/$target/lib"
    printf '[package]\nname = "empty"\nversion = "0.0.0"\nedition = "2024"\n[workspace]\n' >"$folder/std/Cargo.toml"
    echo 'fn main() {}' >"$folder/std/src/main.rs"
    (cd "$folder/std" && CARGO_TARGET_DIR=target /usr/bin/cargo build --release --target "$target" \
        -Zbuild-std=std,panic_abort,panic_unwind,test)
    cp "$folder/std/target/$target/release/deps/"lib*.rlib "$folder/sysroot/lib/rustlib/$target/lib/"
    rm -rf "$folder/std/target"
    echo "$version" >"$mark"
}

passed=0 failed=0

# Runs a command that must succeed, every step of it, for the claim to hold. What it says is kept in $place/said.
claim() {
    local text=$1 code
    shift
    set +e
    (set -e; "$@") >"$place/said" 2>&1
    code=$?
    set -e
    if [ $code -eq 0 ]; then
        passed=$((passed + 1))
        echo "ok      $text"
    else
        failed=$((failed + 1))
        echo "FAILED  $text"
        tail -n 20 "$place/said" | sed 's/^/        | /'
    fi
}

# The line that counts; fails when a claim did.
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" -eq 0 ]
}
