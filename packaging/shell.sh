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
