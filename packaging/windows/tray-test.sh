#!/usr/bin/env bash
# The backup monitor in Wine's taskbar, driven by a pointer on a virtual screen: packaging/windows/tray-test.sh AGENT.exe [SHOTS]
#
# An agent on loopback's host, and the monitor beside it; what it shows is read from the screen, what is clicked on is asked of the
# agent. With a folder SHOTS a picture of every state stays there. One line per claim; the last line is `N passed, M failed`.
set -euo pipefail
cd "$(dirname "$0")/../.."
readonly agent=$(realpath "$1") monitor=$(realpath "$(dirname "$1")/nightkeep-monitor.exe")
readonly shots=$(realpath -m "${2:-$PWD/target/windows/shots}")
. packaging/windows/claims.sh
require xvfb openbox xdotool imagemagick tesseract-ocr tesseract-ocr-deu
rm -rf "$shots"
mkdir -p "$shots"

# The colours of the icons, as agent/monitor/src/icon.rs has them.
readonly green=1b7f3b blue=1f5fbf red=b31b1b plum=8a1f5c slate=555f6b grey=7a7a7a
readonly home="$drive/nightkeep-tray" at='C:\nightkeep-tray'
children=()

end() {
    for child in "${children[@]}"; do kill "$child" 2>/dev/null || true; done
    timeout 20 wine taskkill /f /im nightkeep-monitor.exe >/dev/null 2>&1 || true
    timeout 20 wine taskkill /f /im nightkeep-agent.exe >/dev/null 2>&1 || true
    [ -z "${host_pid:-}" ] || kill "$host_pid" 2>/dev/null || true
    rm -rf "$place" "$home" "$drive/nightkeep-token"
}
trap end EXIT

# ---- The screen

start_screen() {
    Xvfb -displayfd 3 -screen 0 960x560x24 -nolisten tcp 3>"$place/display" >"$place/xvfb.log" 2>&1 &
    children+=($!)
    for _ in $(seq 100); do
        [ -s "$place/display" ] && break
        sleep 0.1
    done
    DISPLAY=:$(cat "$place/display")
    export DISPLAY
    # Windows get the keyboard from whoever manages them.
    openbox >"$place/openbox.log" 2>&1 &
    children+=($!)
}

shot() { import -window root "$place/shot.png"; }
look() { packaging/windows/screen.py "$place/shot.png" "$@"; }
keep() { cp "$place/shot.png" "$shots/$1.png"; }

# Waits until the tray's icon has this colour; its place is in `icon`.
shows() {
    for _ in $(seq "${2:-60}"); do
        shot
        if icon=$(look colour "$1"); then
            echo "$icon" >"$place/icon"
            return 0
        fi
        sleep 0.3
    done
    return 1
}

# Opens the menu by a click on the icon until these words can be read in it: an open menu does not change with what is heard.
opens() {
    local x y
    read -r x y <"$place/icon"
    for _ in $(seq 8); do
        xdotool mousemove "$x" "$y" click "${button:-1}"
        sleep 0.7
        shot
        look text "$1" >"$place/word" && return 0
        closes_menu
        sleep 1
    done
    look read
    return 1
}

reads() {
    for _ in $(seq 20); do
        sleep 0.3
        shot
        look text "$1" >"$place/word" && return 0
    done
    look read
    return 1
}

clicks_on() {
    reads "$1"
    local x y
    read -r x y <"$place/word"
    xdotool mousemove "$x" "$y"
    sleep 0.3
    xdotool click 1
}

# A click beside a menu closes it.
closes_menu() {
    xdotool mousemove 300 200 click 1
    sleep 0.5
}

start_monitor() {
    wine explorer "/desktop=tray$RANDOM,900x500" "$(printf 'Z:%s' "$monitor" | tr / '\\')" --state-dir "$at\\state" "$@" >"$place/monitor.log" 2>&1 &
    children+=($!)
}

monitor_runs() { timeout 60 wine tasklist 2>/dev/null | grep -q nightkeep-monitor; }

# ---- The agent

nightkeep() { timeout 120 wine "$agent" "$@" --config "$at\\agent.toml" --state-dir "$at\\state" --identity-dir "$at\\identity"; }

start_agent() {
    wine "$agent" run --config "$at\\agent.toml" --state-dir "$at\\state" --identity-dir "$at\\identity" >"$place/agent.log" 2>&1 &
    children+=($!)
    comes_to_say '"hostname"' nightkeep status --json >/dev/null
}

gone() {
    for _ in $(seq 60); do
        monitor_runs || return 0
        sleep 0.5
    done
    return 1
}

rm -rf "$home"
mkdir -p "$home/machine/Users"
cp -r protocol/rules "$home/machine/Users/"
head -c 300000000 /dev/urandom >"$home/machine/Users/noise.bin"
cat >"$home/agent.toml" <<'TOML'
machine_name = "winpc"
machine_root = 'C:\nightkeep-tray\machine'
TOML
start_screen
start_monitor

claim "without an agent it shows a question" shows $grey 100
keep nobody-icon
claim "and says why" opens "Backup service not running"
keep nobody
closes_menu
start_agent
claim "an agent without a host is told" opens "This computer is not enrolled"
keep not-enrolled
closes_menu
start_host
token_file
nightkeep enroll --token-file 'C:\nightkeep-token' >"$place/enrolled" 2>&1
scan
claim "a plan without a backup is not protected" shows $plum 200
claim "which the menu says, with what can be done" opens "Back up now"
keep not-protected
claim "a backup is ordered by a click" clicks_on "Back up now"
claim "it runs" shows $blue
claim "with its share, and can be stopped" opens "Stop the backup"
keep running
claim "a click stops it" clicks_on "Stop the backup"
claim "then it is not protected again" shows $plum
rm "$home/machine/Users/noise.bin"
button=3 claim "the other button opens the menu, too" opens "Back up now"
claim "another one runs to its end" clicks_on "Back up now"
claim "and all is well" shows $green 200
claim "with the last backup in the menu" opens "Pause backups"
keep ok
claim "the pauses unfold" clicks_on "Pause backups"
claim "by their length" reads "until tomorrow"
keep pauses
claim "one is chosen by a click" clicks_on "for 4 hours"
claim "it is paused" shows $slate
claim "the agent says so" says '"paused_until":"20' nightkeep status --json
claim "the menu says until when" opens "Resume backups"
keep paused
claim "a click resumes" clicks_on "Resume backups"
claim "all is well again" shows $green
claim "the agent says so" says '"paused_until":null' nightkeep status --json
mv "$home/machine/Users" "$home/Users"
rmdir "$home/machine"
opens "Back up now" >/dev/null || true
claim "a backup that must fail is ordered" clicks_on "Back up now"
claim "its failure is seen" shows $red 200
claim "and told" opens "Backup status"
keep error
closes_menu
read -r x y <"$place/icon"
xdotool mousemove "$x" "$y"
claim "a pointer that rests on the icon is told in short" reads "Last backup"
keep tooltip
claim "a second monitor beside it ends at once" timeout 60 wine "$monitor" --state-dir "$at\\state"
claim "the menu has its end" opens "Close the monitor"
claim "by a click" clicks_on "Close the monitor"
claim "it ends" gone
start_monitor --language de
claim "in German" shows $red 100
claim "the menu is German" opens "Jetzt sichern"
keep german
claim "every line of it" reads "Anzeige beenden"
claim "the pauses, too" clicks_on "Sicherungen aussetzen"
claim "by their length" reads "bis morgen"
keep german-pauses
finish
