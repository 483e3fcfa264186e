# A host of its own for a test, on loopback; to be sourced. Wants $host, the program, and $place, a folder; in the array
# `within`, a command that starts others elsewhere, in another network for one.
# Starts a host on loopback; its id is in host_pid.
start_host() {
    "${within[@]}" "$host" serve --json --listen 127.0.0.1:0 --data "$place/host" >"$place/host.log" 2>&1 &
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
    "${within[@]}" python3 - "$place/host.log" <<'PYTHON'
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
