#!/usr/bin/env bash
# Puts Authenticode signatures into programs and installers: packaging/windows/sign.sh FILE...
#
#   NIGHTKEEP_AUTHENTICODE_PFX            the certificate with its key and chain, a PKCS #12 file; without it nothing is signed
#   NIGHTKEEP_AUTHENTICODE_PASSWORD_FILE  a file with its password
#   NIGHTKEEP_AUTHENTICODE_TIMESTAMP      the address of a time stamp service (RFC 3161): with its stamp a signature outlives
#                                         its certificate
#
# Invariant: a file whose signature does not hold is taken for a failure, and the password stands in no list of processes.
set -euo pipefail
readonly pfx=${NIGHTKEEP_AUTHENTICODE_PFX:-} password=${NIGHTKEEP_AUTHENTICODE_PASSWORD_FILE:-}
if [ -z "$pfx" ]; then
    for file in "$@"; do
        echo "not signed (Authenticode): $(basename "$file"): NIGHTKEEP_AUTHENTICODE_PFX names no certificate; Windows warns of it"
    done
    exit 0
fi
command -v osslsigncode >/dev/null || { echo "missing package: apt-get install osslsigncode" >&2; exit 1; }
[ -r "$pfx" ] && [ -r "$password" ] ||
    { echo "NIGHTKEEP_AUTHENTICODE_PFX and NIGHTKEEP_AUTHENTICODE_PASSWORD_FILE must be files that can be read" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
openssl pkcs12 -in "$pfx" -passin "file:$password" -nokeys -out "$work/chain.pem"
stamp=()
[ -z "${NIGHTKEEP_AUTHENTICODE_TIMESTAMP:-}" ] || stamp=(-ts "$NIGHTKEEP_AUTHENTICODE_TIMESTAMP")
for file in "$@"; do
    osslsigncode sign -pkcs12 "$pfx" -readpass "$password" -n "Nightkeep" -h sha256 "${stamp[@]}" \
        -in "$file" -out "$work/signed" >"$work/said" || { cat "$work/said" >&2; exit 1; }
    osslsigncode verify -CAfile "$work/chain.pem" -TSA-CAfile /etc/ssl/certs/ca-certificates.crt -in "$work/signed" >"$work/said" 2>&1 ||
        { cat "$work/said" >&2; echo "the signature of $(basename "$file") does not hold" >&2; exit 1; }
    mv "$work/signed" "$file"
    echo "signed (Authenticode): $(basename "$file")"
done
