# Shared by the tests under Wine, beside packaging/shell.sh: an agent, a host on loopback. Sets place, drive, ours.
. packaging/shell.sh
export WINEPREFIX=$PWD/target/windows/wine WINEARCH=win64 WINEDEBUG=-all
unset DISPLAY
readonly host=$PWD/target/debug/nightkeep-host drive=$WINEPREFIX/drive_c ours=$WINEPREFIX/drive_c/ProgramData/Nightkeep
place=$(mktemp -d)
readonly place
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

# Starts a host on loopback; its id is in host_pid.
start_host() {
    "$host" serve --json --listen 127.0.0.1:0 --data "$place/host" >"$place/host.log" 2>&1 &
    host_pid=$!
    for _ in $(seq 100); do
        grep -q '"event"' "$place/host.log" && return 0
        sleep 0.1
    done
    cat "$place/host.log" >&2
    return 1
}

# Has the host look at its machines now instead of in its six minutes.
scan() {
    python3 - "$place/host.log" <<'PYTHON'
import http.cookiejar, json, ssl, sys, urllib.request
told = {}
for line in open(sys.argv[1]):
    if line.startswith("{"):
        told.update(json.loads(line))
tls = ssl.create_default_context()
tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
opener = urllib.request.build_opener(
    urllib.request.HTTPSHandler(context=tls), urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
def post(path, body):
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(told["console"].rstrip("/") + path, json.dumps(body).encode(), headers)
    opener.open(request, timeout=30).read()
post("/api/v1/session", {"user": told["user"], "password": told["password"]})
post("/api/v1/scan", {})
PYTHON
}

# A token for one machine, in a file of the Windows that is tested.
token_file() {
    "$host" token create --client Acme --location Office --auto-plan --data "$place/host" >"$drive/nightkeep-token"
}
