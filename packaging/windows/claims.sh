# Shared by the tests under Wine, beside packaging/shell.sh: an agent, a host on loopback. Sets place, drive, ours.
. packaging/shell.sh
export WINEPREFIX=$PWD/target/windows/wine WINEARCH=win64 WINEDEBUG=-all
unset DISPLAY
readonly host=$PWD/target/debug/nightkeep-host drive=$WINEPREFIX/drive_c ours=$WINEPREFIX/drive_c/ProgramData/Nightkeep
place=$(mktemp -d)
readonly place
within=()
. packaging/host.sh
# The agent that is tested.
nightkeep() { timeout 300 wine "$agent" "$@"; }

# Whether what the command says has this in it.
says() {
    local expected=$1 said
    shift
    # Its own exit code is another claim's affair.
    said=$("$@" 2>&1) || true
    echo "$said"
    [[ $said == *"$expected"* ]]
}

# The same, within some minutes.
comes_to_say() {
    for _ in $(seq 120); do
        says "$@" && return 0
        sleep 1
    done
    return 1
}

not() { ! "$@"; }

# A token for one machine, in a file of the Windows that is tested.
token_file() {
    "$host" token create --client Acme --location Office --auto-plan --data "$place/host" >"$drive/nightkeep-token"
}
