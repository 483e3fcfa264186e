#!/usr/bin/env bash
# Signs the installers of a version: packaging/sign.sh VERSION FOLDER KEY.pem...
#
# Writes into the folder: nightkeep.manifest, which names version and every installer with its hash and length; beside it
# nightkeep.manifest.sig, one line a key; and the scripts of packaging/rmm, which from then on trust these keys and those
# in NIGHTKEEP_PUBLISHER_KEYS (base64, space between), and no others.
#
# A key is made by `openssl genpkey -algorithm ed25519 -out KEY.pem` and kept off the machine that builds. To change it: put
# the next one's public half into NIGHTKEEP_PUBLISHER_KEYS a release ahead, then sign with both until no old script is left.
#
# Invariant: no key's private half leaves its file; what was written was verified as the scripts will verify it.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: packaging/sign.sh VERSION FOLDER KEY.pem..." >&2; exit 2; }
readonly version=$1 folder=$(realpath "$2")
shift 2
readonly rmm=$(realpath "$(dirname "$0")/rmm")
readonly manifest=$folder/nightkeep.manifest
trusted=()
for key in ${NIGHTKEEP_PUBLISHER_KEYS:-}; do
    [[ $key =~ ^[A-Za-z0-9+/]{43}=$ ]] || { echo "NIGHTKEEP_PUBLISHER_KEYS: $key is no public key of Ed25519" >&2; exit 1; }
    trusted+=("$key")
done
[ $# -le 4 ] || { echo "at most four keys sign; scripts read no further" >&2; exit 1; }

# The version as Debian and rpm write it stands in their files' names.
{
    echo 'nightkeep-manifest 1'
    echo "version $version"
    cd "$folder"
    for file in *"${version/-/\~}"*.deb *"${version/-/\~}"*.rpm *"-$version".msi *"-$version".pkg; do
        [ -f "$file" ] || continue
        echo "file $(sha256sum "$file" | cut -d ' ' -f 1) $(stat -c %s "$file") $file"
    done
} >"$manifest.new"
grep -q '^file ' "$manifest.new" || { rm "$manifest.new"; echo "$folder holds no installer of $version" >&2; exit 1; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for key in "$@"; do
    openssl pkey -in "$key" -text -noout 2>/dev/null | grep -q '^ED25519 Private-Key' ||
        { echo "$key holds no private key of Ed25519: openssl genpkey -algorithm ed25519 -out $key" >&2; exit 1; }
    openssl pkey -in "$key" -pubout -out "$work/public"
    openssl pkeyutl -sign -inkey "$key" -rawin -in "$manifest.new" -out "$work/signature"
    openssl pkeyutl -verify -pubin -inkey "$work/public" -rawin -in "$manifest.new" -sigfile "$work/signature" >/dev/null
    openssl base64 -A -in "$work/signature" >>"$work/signatures"
    echo >>"$work/signatures"
    trusted+=("$(openssl pkey -in "$key" -pubout -outform DER | tail -c 32 | openssl base64 -A)")
done
mv "$manifest.new" "$manifest"
cp "$work/signatures" "$manifest.sig"
mkdir -p "$folder/rmm"
for script in nightkeep.sh nightkeep.ps1; do
    sed "s|@PUBLISHER_KEYS@|${trusted[*]}|" "$rmm/$script" >"$folder/rmm/$script"
    chmod 755 "$folder/rmm/$script"
done
cat "$manifest"
echo "signed by $# of these keys, which the scripts in $folder/rmm trust: ${trusted[*]}"
