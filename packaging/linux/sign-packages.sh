#!/usr/bin/env bash
# Signs the packages of a version and makes repositories of them: packaging/linux/sign-packages.sh VERSION FOLDER KEY
#
# KEY is a file with an OpenPGP private key without passphrase (`gpg --armor --export-secret-keys ID`); RSA is what every rpm and
# apt in use verifies. The .rpm files are signed in place; of .deb files it is their repository that is signed, as nothing that
# installs one looks for a signature in it. Into FOLDER go
#
#   nightkeep-packages.asc   the public half, to be given to machines on a way of its own
#   apt/                     a repository for apt: suite stable, component main, amd64
#   rpm/                     a repository for dnf, yum and zypper
#
# Invariant: no key's private half leaves its file but into a folder that goes with this run; what was written was verified.
set -euo pipefail
[ $# -eq 3 ] || { echo "usage: packaging/linux/sign-packages.sh VERSION FOLDER KEY" >&2; exit 2; }
readonly version=${1/-/\~} key=$(realpath "$3")
folder=$(realpath "$2")
readonly folder
cd "$(dirname "$0")"
. ../shell.sh
require apt-utils createrepo-c gnupg rpm
stage=$(mktemp -d)
readonly stage
export GNUPGHOME=$stage/keys LC_ALL=C TZ=UTC
install -d -m 700 "$GNUPGHOME"
end() {
    gpgconf --kill all
    rm -rf "$stage"
}
trap end EXIT
gpg --batch --quiet --import "$key"
id=$(gpg --batch --list-secret-keys --with-colons | awk -F: '$1 == "fpr" { print $10; exit }')
readonly id
[ -n "$id" ] || { echo "$3 holds no private key: gpg --armor --export-secret-keys ID" >&2; exit 1; }
gpg --batch --armor --export "$id" >"$folder/nightkeep-packages.asc"

# One detached and one clear signature, each verified at once.
sign() {
    gpg --batch --yes --local-user "$id" --armor --detach-sign --output "$2" "$1"
    gpg --batch --quiet --verify "$2" "$1" 2>/dev/null
}

rpms=("$folder/"*"-$version-1.x86_64.rpm")
debs=("$folder/"*"_${version}_amd64.deb")
[ -e "${rpms[0]}" ] && [ -e "${debs[0]}" ] || { echo "$folder holds no packages of $1" >&2; exit 1; }

rpmsign --define "__gpg $(command -v gpg)" --define "_gpg_name $id" --define "_gpg_path $GNUPGHOME" --addsign "${rpms[@]}" >/dev/null
rpmkeys --dbpath "$stage/rpmdb" --import "$folder/nightkeep-packages.asc"
rpmkeys --dbpath "$stage/rpmdb" --define '_pkgverify_level all' --checksig "${rpms[@]}"
rm -rf "$folder/rpm"
mkdir -p "$folder/rpm"
cp -p "${rpms[@]}" "$folder/rpm/"
createrepo_c --quiet --no-database "$folder/rpm"
sign "$folder/rpm/repodata/repomd.xml" "$folder/rpm/repodata/repomd.xml.asc"

rm -rf "$folder/apt"
readonly suite=$folder/apt/dists/stable
mkdir -p "$folder/apt/pool" "$suite/main/binary-amd64"
cp -p "${debs[@]}" "$folder/apt/pool/"
(cd "$folder/apt" && apt-ftparchive packages pool) >"$suite/main/binary-amd64/Packages"
gzip -9nk "$suite/main/binary-amd64/Packages"
apt-ftparchive -o APT::FTPArchive::Release::Origin=Nightkeep -o APT::FTPArchive::Release::Label=Nightkeep \
    -o APT::FTPArchive::Release::Suite=stable -o APT::FTPArchive::Release::Codename=stable \
    -o APT::FTPArchive::Release::Architectures=amd64 -o APT::FTPArchive::Release::Components=main \
    release "$suite" >"$stage/Release"
mv "$stage/Release" "$suite/Release"
sign "$suite/Release" "$suite/Release.gpg"
gpg --batch --yes --local-user "$id" --clear-sign --output "$suite/InRelease" "$suite/Release"
gpg --batch --quiet --verify "$suite/InRelease" 2>/dev/null
echo "signed by $id: ${#rpms[@]} rpm, and repositories for apt and dnf"
