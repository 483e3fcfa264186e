#!/bin/sh
# Removes the agent from this Mac: sudo /Library/Nightkeep/uninstall.sh. Identity, state and log files stay, as a machine that comes
# back is known by them; `--everything` removes them too.
set -eu
label=org.nightkeep.agent
everything=no
case "${1:-}" in
    "") ;;
    --everything) everything=yes ;;
    *) echo "usage: uninstall.sh [--everything]" >&2; exit 2 ;;
esac
if [ "$(id -u)" -ne 0 ]; then
    echo "uninstall.sh must be run as root: sudo $0" >&2
    exit 1
fi
if launchctl print "system/$label" >/dev/null 2>&1; then
    launchctl bootout "system/$label"
fi
rm -f "/Library/LaunchDaemons/$label.plist"
if [ "$(readlink /usr/local/bin/nightkeep-agent || true)" = /Library/Nightkeep/nightkeep-agent ]; then
    rm -f /usr/local/bin/nightkeep-agent
fi
rm -rf /Library/Nightkeep
if [ $everything = yes ]; then
    rm -rf "/Library/Application Support/Nightkeep" /Library/Logs/Nightkeep
fi
# So that the Installer does not take a later package for an upgrade.
pkgutil --forget $label >/dev/null 2>&1 || true
echo "Nightkeep is removed."
