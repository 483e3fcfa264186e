#!/usr/bin/env bash
# Authenticode with a certificate of our own making: packaging/windows/sign-test.sh AGENT.exe
#
# One line per claim; the last line is `N passed, M failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly built=$(realpath "$1")
. packaging/shell.sh
command -v osslsigncode >/dev/null || require osslsigncode
place=$(mktemp -d)
readonly place
trap 'rm -rf "$place"' EXIT

not() { ! "$@"; }
says() {
    local expected=$1 said
    shift
    said=$("$@" 2>&1) || { echo "$said"; return 1; }
    echo "$said"
    [[ $said == *"$expected"* ]]
}
verify() { osslsigncode verify -CAfile "$place/certificate.pem" -in "$1"; }
unsigned() { env -u NIGHTKEEP_AUTHENTICODE_PFX "$@"; }
msi=$place/nightkeep-agent-0.1.0.msi

cp "$built" "$place/agent.exe"
claim "without a certificate nothing is signed, and it says so" says 'not signed' unsigned packaging/windows/sign.sh "$place/agent.exe"
claim "which leaves the file as it was" cmp "$built" "$place/agent.exe"
claim "an installer is made all the same" unsigned packaging/windows/build-msi.sh 0.1.0 "$built" "$place"
claim "and bears no signature" not verify "$msi"

openssl req -x509 -newkey rsa:3072 -nodes -days 2 -subj '/CN=Nightkeep test' -addext extendedKeyUsage=codeSigning \
    -addext keyUsage=digitalSignature -keyout "$place/key.pem" -out "$place/certificate.pem" 2>/dev/null
echo only-for-this-test >"$place/password"
openssl pkcs12 -export -inkey "$place/key.pem" -in "$place/certificate.pem" -out "$place/certificate.pfx" -passout "file:$place/password"
export NIGHTKEEP_AUTHENTICODE_PFX=$place/certificate.pfx NIGHTKEEP_AUTHENTICODE_PASSWORD_FILE=$place/password

claim "a program is signed" says 'signed (Authenticode): agent.exe' packaging/windows/sign.sh "$place/agent.exe"
claim "its signature holds" verify "$place/agent.exe"
claim "the installer is signed, and the programs in it" packaging/windows/build-msi.sh 0.1.0 "$built" "$place"
claim "its signature holds" verify "$msi"
mkdir "$place/unpacked"
(cd "$place/unpacked" && msiextract "$msi" >/dev/null)
for program in nightkeep-agent nightkeep-monitor; do
    claim "the $program in it is signed" verify "$(find "$place/unpacked" -name "$program.exe")"
done
cp "$place/agent.exe" "$place/changed.exe"
printf X | dd of="$place/changed.exe" bs=1 seek=100000 conv=notrunc status=none
claim "one changed byte breaks it" not verify "$place/changed.exe"
echo wrong >"$place/password"
claim "a wrong password is a failure, not an unsigned file" not packaging/windows/sign.sh "$place/agent.exe"
finish
