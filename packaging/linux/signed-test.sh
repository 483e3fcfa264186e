#!/usr/bin/env bash
# Signed packages and repositories, as rpm and apt judge them: packaging/linux/signed-test.sh VERSION FOLDER-OF-PACKAGES
#
# With a key made for this run, a copy of the packages, and a web server on loopback that ends with it. apt works in folders of its
# own. One line per claim; the last line is `N passed, M failed`.
#
# Invariant: the machine itself, its keys and its packages are left alone.
set -euo pipefail
readonly version=$1 dist=$(realpath "$2")
cd "$(dirname "$0")/../.."
. packaging/shell.sh
require apt-utils createrepo-c gnupg python3 rpm
place=$(mktemp -d)
readonly place
chmod 755 "$place"
server=
end() {
    [ -z "$server" ] || kill "$server" 2>/dev/null || true
    GNUPGHOME=$place/gnupg gpgconf --kill all
    rm -rf "$place"
}
trap end EXIT

not() { ! "$@"; }

make_key() {
    local name=$1
    export GNUPGHOME=$place/gnupg
    install -d -m 700 "$GNUPGHOME"
    gpg --batch --quiet --pinentry-mode loopback --passphrase '' --quick-generate-key "$name" rsa3072 sign never
    gpg --batch --quiet --pinentry-mode loopback --passphrase '' --armor --export-secret-keys "=$name" >"$place/$name.key"
    unset GNUPGHOME
}

copy_of_packages() {
    mkdir -p "$place/dist"
    cp "$dist"/*.deb "$dist"/*.rpm "$place/dist/"
}

rpm_says() {
    rpmkeys --dbpath "$place/rpmdb" --define '_pkgverify_level all' --checksig "$@"
}

# apt with its own lists, keys and sources, which knows one repository.
apt_own() {
    apt-get -q -o "Dir::State=$place/apt" -o "Dir::Cache=$place/apt/cache" -o "Dir::Etc::sourcelist=$place/apt/sources.list" \
        -o Dir::Etc::sourceparts=- -o Dir::State::status=/var/lib/dpkg/status -o APT::Sandbox::User=root \
        -o Acquire::Languages=none "$@"
}

# Forgets what it knew, and asks the server; a warning is a failure.
apt_update() {
    rm -rf "$place/apt"
    mkdir -p "$place/apt/lists/partial" "$place/apt/cache/archives/partial"
    echo "deb [signed-by=$1] http://127.0.0.1:$port stable main" >"$place/apt/sources.list"
    apt_own -o APT::Update::Error-Mode=any update
}

apt_brings_the_package() {
    rm -f "$place/"*.deb
    apt_update "$place/dist/nightkeep-packages.asc"
    (cd "$place" && apt_own download "nightkeep-agent=${version/-/\~}")
    cmp "$place/nightkeep-agent_${version/-/\~}_amd64.deb" "$dist/nightkeep-agent_${version/-/\~}_amd64.deb"
}

# What a server that was taken over could change.
tampered() {
    sed -i "$2" "$place/dist/apt/dists/stable/$1"
}

copy_of_packages
make_key publisher
make_key stranger
sign() { packaging/linux/sign-packages.sh "$version" "$place/dist" "$place/publisher.key"; }
claim 'packages are signed with a key of a file' sign
rpmkeys --dbpath "$place/rpmdb" --import "$place/dist/nightkeep-packages.asc"
claim 'rpm verifies both .rpm files by the public half' rpm_says "$place/dist/"*.rpm
claim 'an .rpm without a signature is refused by the same key' not rpm_says "$dist/nightkeep-agent-${version/-/\~}-1.x86_64.rpm"
cp "$place/dist/nightkeep-agent-${version/-/\~}-1.x86_64.rpm" "$place/changed.rpm"
printf 'x' | dd of="$place/changed.rpm" bs=1 seek=$(($(stat -c %s "$place/changed.rpm") - 1000)) conv=notrunc status=none
claim 'and one that was changed' not rpm_says "$place/changed.rpm"

# It ends with this script, and by itself after a quarter of an hour.
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
timeout 900 python3 -m http.server --bind 127.0.0.1 --directory "$place/dist/apt" "$port" >/dev/null 2>&1 &
server=$!
for _ in $(seq 50); do
    python3 -c "import socket; socket.create_connection(('127.0.0.1', $port))" 2>/dev/null && break
    sleep 0.1
done
claim 'apt brings the package from a repository signed by the key' apt_brings_the_package
GNUPGHOME=$place/gnupg gpg --batch --armor --export =stranger >"$place/stranger.asc"
claim "apt refuses it by a stranger's key" not apt_update "$place/stranger.asc"
cp -r "$place/dist/apt" "$place/kept"
tampered main/binary-amd64/Packages 's/^Version: .*/Version: 99/'
rm "$place/dist/apt/dists/stable/main/binary-amd64/Packages.gz"
claim 'apt refuses a list of packages that was changed' not apt_update "$place/dist/nightkeep-packages.asc"
rm -r "$place/dist/apt/dists" && cp -r "$place/kept/dists" "$place/dist/apt/"
tampered InRelease 's/^Label: .*/Label: Other/'
claim 'and a release file' not apt_update "$place/dist/nightkeep-packages.asc"
rm -r "$place/dist/apt/dists" && cp -r "$place/kept/dists" "$place/dist/apt/"
printf x >>"$place/dist/apt/pool/nightkeep-agent_${version/-/\~}_amd64.deb"
claim 'and a package' not apt_brings_the_package
claim 'a file without a private key signs nothing' not packaging/linux/sign-packages.sh "$version" "$place/dist" "$place/stranger.asc"
finish
