#!/usr/bin/env bash
# Makes the packages of finished programs: packaging/linux/build.sh VERSION FOLDER-OF-PROGRAMS FOLDER-FOR-PACKAGES
#
# Invariant: the same programs, version and SOURCE_DATE_EPOCH give the same bytes.
set -euo pipefail
readonly programs=$(realpath "$2") target=$(realpath -m "$3")
cd "$(dirname "$0")"
readonly packages=(binutils dpkg-dev rpm xz-utils)
# Debian and rpm sort `~` before the release, as semantic versions sort `-rc.1`.
readonly version=${1/-/\~}
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
: "${SOURCE_DATE_EPOCH:?the time of the last commit}"
umask 022
. ../shell.sh

# The changelog's part about Linux, in Debian's words.
changelog() {
    echo "$1 ($version) stable; urgency=medium"
    echo
    awk '/^#/ { linux = /^### Linux/; next } linux && NF { print "  " $0 }' ../../CHANGELOG.md
    echo
    echo " -- $maintainer  $(date -u -R -d "@$SOURCE_DATE_EPOCH")"
}

# The libraries a program holds, with their licences.
dependencies() {
    cargo tree --locked --package "$1" --edges normal --target x86_64-unknown-linux-gnu --prefix none \
        --format '{p}: {l}' --no-dedupe | grep -v ' (/' | sort -u
}

lay_out() {
    local name=$1
    local docs=$stage/$name/usr/share/doc/$name
    install -D -m 755 "$programs/$name" "$stage/$name/usr/bin/$name"
    install -D -m 644 copyright "$docs/copyright"
    changelog "$name" | gzip -9n >"$docs/changelog.gz"
    dependencies "$name" | gzip -9n >"$docs/dependencies.gz"
}

# What the program needs of the C library, as this machine's packages tell it.
needs() {
    local work=$stage/shlibs
    mkdir -p "$work/debian" "$stage/$1/DEBIAN"
    printf 'Source: nightkeep\n\nPackage: %s\nArchitecture: amd64\n' "$1" >"$work/debian/control"
    (cd "$work" && dpkg-shlibdeps -O "$stage/$1/usr/bin/$1") | sed -n 's/^shlibs:Depends=//p'
}

# A .deb of the laid out folder with these more control fields.
deb() {
    local name=$1 depends=$2 summary=$3 description=$4
    local folder=$stage/$name
    cat >"$folder/DEBIAN/control" <<END
Package: $name
Version: $version
Architecture: amd64
Section: admin
Priority: optional
Maintainer: $maintainer
Installed-Size: $(du -k --apparent-size -s "$folder" | cut -f 1)
Depends: $depends
Description: $summary
$description
END
    (cd "$folder" && find . -path ./DEBIAN -prune -o -type f -printf '%P\0' | sort -z | xargs -0 md5sum) \
        >"$folder/DEBIAN/md5sums"
    if [ -d "$folder/etc" ]; then
        (cd "$folder" && find etc -type f -printf '/%p\n' | sort) >"$folder/DEBIAN/conffiles"
    fi
    dpkg-deb --root-owner-group -Zxz -z9 --build "$folder" "$target/${name}_${version}_amd64.deb" >/dev/null
    rm -r "$folder/DEBIAN"
}

require "${packages[@]}"
if [ "$(dpkg --print-architecture)" != amd64 ]; then
    echo "packages are made for amd64, on amd64" >&2
    exit 1
fi
# Who answers for these packages: `Name <address>`. Without one, an address that reaches nobody.
readonly maintainer=${NIGHTKEEP_MAINTAINER:-Nightkeep maintainers <maintainers@nightkeep.invalid>}
[[ $maintainer =~ ^[^\<\>$'\n']+\ \<[^\<\>@\ ]+@[^\<\>@\ ]+\>$ ]] || { echo "NIGHTKEEP_MAINTAINER is no 'Name <address>': $maintainer" >&2; exit 1; }
stage=$(mktemp -d)
readonly stage
trap 'rm -rf "$stage"' EXIT
mkdir -p "$target"
lay_out nightkeep-agent
lay_out nightkeep-monitor
install -D -m 644 nightkeep-monitor.desktop "$stage/nightkeep-monitor/etc/xdg/autostart/nightkeep-monitor.desktop"

# Debian's packages keep units below /lib, others below /usr/lib.
install -D -m 644 nightkeep-agent.service "$stage/nightkeep-agent/lib/systemd/system/nightkeep-agent.service"
mkdir "$stage/nightkeep-agent/DEBIAN"
for script in preinst postinst prerm postrm; do
    sed "s/@VERSION@/$version/g" "deb/$script" >"$stage/nightkeep-agent/DEBIAN/$script"
    chmod 755 "$stage/nightkeep-agent/DEBIAN/$script"
done
deb nightkeep-agent "$(needs nightkeep-agent)" 'Nightkeep backup agent' \
    ' Backs up this machine into a sealed, deduplicated vault, on its own or for a
 managed service provider'\''s host. The service starts with the machine and waits
 until `nightkeep-agent enroll` makes it part of a host.'
deb nightkeep-monitor "$(needs nightkeep-monitor), nightkeep-agent (>= $version)" 'Nightkeep backup monitor for the tray' \
    ' A sign in the tray that says how this computer is backed up, with a menu to
 start, stop, pause and resume as far as the policy of the machine lets its user.'

mkdir -p "$stage/nightkeep-agent/usr/lib/systemd"
mv "$stage/nightkeep-agent/lib/systemd/system" "$stage/nightkeep-agent/usr/lib/systemd/system"
rm -r "$stage/nightkeep-agent/lib"
install -D -m 644 /dev/stdin "$stage/nightkeep-agent/usr/share/nightkeep-agent/version" <<<"$version-1"
rpmbuild -bb --quiet --target x86_64-linux \
    --define "_topdir $stage/rpm" --define "_rpmdir $target" --define "stage $stage" --define "version_given $version" --define "maintainer $maintainer" \
    --define '_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm' nightkeep.spec >/dev/null
