#!/usr/bin/env bash
# The scripts of packaging/rmm and the signing, as far as they can be tried without a machine: packaging/rmm/test.sh [prepare]
# `prepare` installs what this needs, and does no more.
#
# One line per claim; the last line is `N passed, M failed`. What nightkeep.sh does on a machine is shown by linux-test.sh.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly tools=$PWD/target/tools/powershell
. packaging/shell.sh
place=$(mktemp -d)
readonly place
trap 'rm -rf "$place"' EXIT

refused() {
    if "$@"; then
        echo "was not refused: $*"
        return 1
    fi
}

lint() {
    "$tools/bin/python" packaging/rmm/lint-powershell.py "$@"
}

powershell_parses() {
    lint packaging/rmm/nightkeep.ps1
}

# Were the linter blind, it would find nothing anywhere.
linter_sees() {
    local breach
    for breach in 's/^function Stop-Run(/function Stop-Run/' 's/^    } catch {$/    } catch (/' 's/finally {/finally/' 's/nothing to do/nothing tö do/'; do
        sed "$breach" packaging/rmm/nightkeep.ps1 >"$place/broken.ps1"
        refused cmp -s packaging/rmm/nightkeep.ps1 "$place/broken.ps1"
        refused lint "$place/broken.ps1"
    done
}

# The checker as Windows PowerShell 5.1 compiles it, which knows C# 5.
compile_checker() {
    sed -n "/^\$Ed25519Source = @'$/,/^'@$/p" packaging/rmm/nightkeep.ps1 | sed '1d;$d' >"$place/checker.cs"
    mcs -langversion:5 -r:System.Numerics.dll -out:"$place/checker.exe" "$place/checker.cs" packaging/rmm/Ed25519Test.cs
}

# Cases that openssl signed and judges, and what RFC 8032 refuses: a changed bit, and a second form of the same number.
checker_agrees() {
    python3 - "$place" >"$place/cases" <<'PYTHON'
import os, random, subprocess, sys
place, seed = sys.argv[1], random.randrange(2**32)
print("seed", seed, file=sys.stderr)
random.seed(seed)
order = 2**252 + 27742317777372353535851937790883648493
def run(*words, **more):
    return subprocess.run(words, check=True, capture_output=True, **more).stdout
def changed(data):
    bit = random.randrange(8 * len(data))
    return bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(data))
def case(key, message, signature, verdict):
    print(key.hex(), message.hex() or "-", signature.hex(), verdict)
for length in [0, 1, 32, 63, 64, 65, 111, 112, 127, 128, 1000, 60000]:
    private = f"{place}/{length}.pem"
    run("openssl", "genpkey", "-algorithm", "ed25519", "-out", private)
    key = run("openssl", "pkey", "-in", private, "-pubout", "-outform", "DER")[-32:]
    message = random.randbytes(length)
    with open(f"{place}/message", "wb") as file:
        file.write(message)
    # openssl 3.0 signs no file of no length.
    if not length:
        continue
    signature = run("openssl", "pkeyutl", "-sign", "-inkey", private, "-rawin", "-in", f"{place}/message")
    case(key, message, signature, "good")
    case(key, changed(message), signature, "bad")
    case(key, message + b"\0", signature, "bad")
    case(changed(key), message, signature, "bad")
    for _ in range(4):
        case(key, message, changed(signature), "bad")
    number = int.from_bytes(signature[32:], "little") + order
    case(key, message, signature[:32] + number.to_bytes(32, "little"), "bad")
    case(key, message, signature[:63], "bad")
PYTHON
    # RFC 8032, 7.1, test 1: no message at all.
    echo d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a - e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b good >>"$place/cases"
    mono "$place/checker.exe" <"$place/cases"
}

# The example by which nightkeep.ps1 finds out whether checking works where it runs.
example_holds() {
    local strings key signature
    mapfile -t strings < <(grep -o "FromBase64String('[^']*')" packaging/rmm/nightkeep.ps1 | cut -d "'" -f 2)
    [ ${#strings[@]} -eq 2 ]
    key=$(openssl base64 -d -A <<<"${strings[0]}" | od -An -v -tx1 | tr -d ' \n')
    signature=$(openssl base64 -d -A <<<"${strings[1]}" | od -An -v -tx1 | tr -d ' \n')
    printf '%s 72 %s good\n%s 73 %s bad\n' "$key" "$signature" "$key" "$signature" | mono "$place/checker.exe"
}

signing_writes_what_scripts_trust() {
    local public
    mkdir "$place/dist"
    echo package >"$place/dist/nightkeep-agent_1.2.3_amd64.deb"
    echo installer >"$place/dist/nightkeep-agent-1.2.3.msi"
    echo old >"$place/dist/nightkeep-agent-1.2.2.msi"
    openssl genpkey -algorithm ed25519 -out "$place/now.pem"
    openssl genpkey -algorithm ed25519 -out "$place/next.pem"
    public=$(openssl pkey -in "$place/next.pem" -pubout -outform DER | tail -c 32 | openssl base64 -A)
    NIGHTKEEP_PUBLISHER_KEYS=$public packaging/sign.sh 1.2.3 "$place/dist" "$place/now.pem"
    [ "$(head -n 2 "$place/dist/nightkeep.manifest")" = $'nightkeep-manifest 1\nversion 1.2.3' ]
    [ "$(grep -c '^file ' "$place/dist/nightkeep.manifest")" -eq 2 ]
    [ "$(wc -l <"$place/dist/nightkeep.manifest.sig")" -eq 1 ]
    grep -q -F "$public" "$place/dist/rmm/nightkeep.sh"
    grep -q -F "$public" "$place/dist/rmm/nightkeep.ps1"
    refused grep -q @PUBLISHER_KEYS@ "$place/dist/rmm/nightkeep.sh" "$place/dist/rmm/nightkeep.ps1"
    lint "$place/dist/rmm/nightkeep.ps1"
    packaging/sign.sh 1.2.3 "$place/dist" "$place/now.pem" "$place/next.pem"
    [ "$(wc -l <"$place/dist/nightkeep.manifest.sig")" -eq 2 ]
    refused grep -r -q 'PRIVATE KEY' "$place/dist"
}

signing_wants_a_key_and_something_to_sign() {
    openssl genpkey -algorithm rsa -pkeyopt rsa_keygen_bits:2048 -out "$place/rsa.pem" 2>/dev/null
    refused packaging/sign.sh 1.2.3 "$place/dist" "$place/rsa.pem"
    refused packaging/sign.sh 1.2.3 "$place/dist" /dev/null
    refused packaging/sign.sh 9.9.9 "$place/dist" "$place/now.pem"
    refused env NIGHTKEEP_PUBLISHER_KEYS=none packaging/sign.sh 1.2.3 "$place/dist" "$place/now.pem"
}

require mono-mcs mono-runtime libmono-system-numerics4.0-cil openssl python3 python3-venv shellcheck
if [ ! -f "$tools/installed" ]; then
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check tree-sitter==0.25.2 tree-sitter-powershell==0.26.4
    touch "$tools/installed"
fi
[ "${1:-}" != prepare ] || exit 0
claim 'shellcheck finds nothing in the script' shellcheck packaging/rmm/nightkeep.sh
claim 'the script is POSIX shell' dash -n packaging/rmm/nightkeep.sh
claim 'the PowerShell script parses, and is ASCII' powershell_parses
claim 'the linter finds what is broken' linter_sees
claim 'what PowerShell compiles to check signatures compiles' compile_checker
claim 'it judges as openssl and RFC 8032 do' checker_agrees
claim 'the example by which it tries itself holds' example_holds
claim 'signing lists what belongs to the version, and scripts trust its keys' signing_writes_what_scripts_trust
claim 'signing refuses other keys, no key, and nothing to sign' signing_wants_a_key_and_something_to_sign
finish
