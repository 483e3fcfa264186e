#!/usr/bin/env bash
# `nightkeep-agent status --format ...` before those who read it: packaging/rmm/dialects-test.sh AGENT HOST | prepare
# `prepare` installs what this needs, and does no more.
#
# An agent on loopback is taken through no daemon, no host, no plan, a backup that worked and one that failed, while a
# Nagios, a Prometheus with a node exporter, promtool, and a reader of Checkmk's documented syntax look at it. Of the remote
# management systems there is none here to ask: their forms are compared with what their documentation says.
# One line per claim; the last line is `N passed, M failed`.
set -euo pipefail
readonly needed=(curl nagios4-core prometheus prometheus-node-exporter python3)
if [ "$1" = prepare ]; then
    . "$(dirname "$0")/../shell.sh"
    require "${needed[@]}"
    exit 0
fi
agent=$(realpath "$1") host=$(realpath "$2")
cd "$(dirname "$0")/../.."
. packaging/shell.sh
# Below /tmp, where Nagios' own account finds it.
place=$(mktemp -d)
readonly place
chmod 755 "$place"
within=()
. packaging/host.sh
readonly exporter=127.0.0.1:19100 prometheus=127.0.0.1:19090

end() {
    local pid
    for pid in ${daemon_pid:-} ${host_pid:-} ${nagios_pid:-} ${exporter_pid:-} ${prometheus_pid:-}; do
        kill -INT "$pid" 2>/dev/null || :
        kill "$pid" 2>/dev/null || :
    done
    wait 2>/dev/null || :
    rm -rf "$place" || :
}

readonly nightkeep=("$place/nightkeep-agent" --state-dir "$place/state" --identity-dir "$place/identity"
    --config "$place/agent.toml" --machine-root "$place/machine")
nightkeep() { "${nightkeep[@]}" "$@"; }

# Starts the daemon and waits until it answers.
start_daemon() {
    # Of a function in the background only the shell around it would be told to end.
    "${nightkeep[@]}" run >"$place/daemon.log" 2>&1 &
    daemon_pid=$!
    until nightkeep status >/dev/null 2>&1; do
        kill -0 "$daemon_pid"
        sleep 0.1
    done
}

# Within two minutes.
soon() {
    for _ in {1..600}; do
        "$@" && return 0
        sleep 0.2
    done
    "$@"
}

bucket_is() {
    nightkeep status --json | grep -q "\"bucket\":\"$1\""
}

### Nagios

# It looks once a second, by its own account, and writes what it understood.
start_nagios() {
    local at=$place/nagios
    mkdir -p "$at/results" "$at/temp"
    cat >"$at/objects.cfg" <<END
define timeperiod {
    timeperiod_name always
    alias always
    sunday 00:00-24:00
    monday 00:00-24:00
    tuesday 00:00-24:00
    wednesday 00:00-24:00
    thursday 00:00-24:00
    friday 00:00-24:00
    saturday 00:00-24:00
}
define command {
    command_name nightkeep
    command_line $place/nightkeep-agent --state-dir $place/state status --format nagios
}
define command {
    command_name nobody
    command_line /bin/true
}
define contact {
    contact_name nobody
    host_notifications_enabled 0
    service_notifications_enabled 0
    host_notification_period always
    service_notification_period always
    host_notification_options n
    service_notification_options n
    host_notification_commands nobody
    service_notification_commands nobody
}
define host {
    host_name pc
    address 127.0.0.1
    max_check_attempts 1
    check_period always
    notification_period always
    contacts nobody
}
define service {
    host_name pc
    service_description backup
    check_command nightkeep
    check_interval 1
    retry_interval 1
    max_check_attempts 1
    check_period always
    notification_period always
    contacts nobody
}
END
    cat >"$at/nagios.cfg" <<END
log_file=$at/nagios.log
cfg_file=$at/objects.cfg
object_cache_file=$at/objects.cache
precached_object_file=$at/objects.precache
status_file=$at/status.dat
status_update_interval=1
temp_file=$at/temp/nagios.tmp
temp_path=$at/temp
check_result_path=$at/results
lock_file=$at/nagios.lock
command_file=$at/nagios.cmd
query_socket=$at/nagios.qh
state_retention_file=$at/retention.dat
retain_state_information=0
check_external_commands=0
interval_length=1
check_for_updates=0
log_rotation_method=n
use_syslog=0
nagios_user=nagios
nagios_group=nagios
END
    chown -R nagios: "$at"
    nagios4 --verify-config "$at/nagios.cfg"
    nagios4 "$at/nagios.cfg" >"$at/output" 2>&1 &
    nagios_pid=$!
}

# A value of the service in what Nagios wrote.
nagios_field() {
    awk -v name="$1=" '/^servicestatus /, /}/ { sub(/^[ \t]+/, ""); if (index($0, name) == 1) print substr($0, length(name) + 1) }' \
        "$place/nagios/status.dat"
}

nagios_has() {
    [ -f "$place/nagios/status.dat" ] && [ "$(nagios_field has_been_checked)" = 1 ] && [ "$(nagios_field current_state)" = "$1" ] &&
        [[ $(nagios_field plugin_output) == $2 ]] && [[ $(nagios_field performance_data) == $3 ]]
}

nagios_sees() {
    soon nagios_has "$@" || { sed -n '/^servicestatus /,/}/p' "$place/nagios/status.dat"; cat "$place/nagios/output"; return 1; }
}

### Prometheus

start_prometheus() {
    mkdir -p "$place/textfile" "$place/tsdb"
    cat >"$place/prometheus.yml" <<END
global: { scrape_interval: 1s }
scrape_configs: [{ job_name: pc, static_configs: [{ targets: ['$exporter'] }] }]
END
    prometheus-node-exporter --web.listen-address=$exporter --collector.disable-defaults --collector.textfile \
        --collector.textfile.directory="$place/textfile" >"$place/exporter.log" 2>&1 &
    exporter_pid=$!
    prometheus --config.file="$place/prometheus.yml" --storage.tsdb.path="$place/tsdb" --web.listen-address=$prometheus \
        >"$place/prometheus.log" 2>&1 &
    prometheus_pid=$!
}

# What the agent says, written as the node exporter wants it: whole, under another name first.
export_status() {
    nightkeep status --format prometheus >"$place/textfile/nightkeep.new"
    mv "$place/textfile/nightkeep.new" "$place/textfile/nightkeep.prom"
}

promtool_agrees() {
    nightkeep status --format prometheus >"$place/metrics"
    promtool check metrics <"$place/metrics" >"$place/lint" 2>&1
    cat "$place/metrics" "$place/lint"
    [ ! -s "$place/lint" ]
}

prometheus_answers() {
    promtool query instant "http://$prometheus" "$1" 2>/dev/null | grep -q "=> $2 @"
}

prometheus_sees() {
    export_status
    soon prometheus_answers "$@" || { curl -s "http://$exporter/metrics" | grep nightkeep; return 1; }
}

### Checkmk and the others

checkmk_reads() {
    nightkeep status --format checkmk >"$place/line"
    python3 packaging/rmm/checkmk.py <"$place/line" >"$place/read"
    cat "$place/read"
    [ "$(sed -n 1p "$place/read")" = "$1" ]
    [ "$(sed -n 2p "$place/read")" = '"Nightkeep Backup"' ]
    grep -q "^$2" "$place/read"
}

# FORMAT CODE PATTERN-OF-THE-LAST-LINE: the code, a last line that tells all, and silence on the error output.
form() {
    local code=0
    nightkeep status --format "$1" >"$place/said.$1" 2>"$place/errors" || code=$?
    cat "$place/said.$1" "$place/errors"
    [ "$code" -eq "$2" ]
    [ ! -s "$place/errors" ]
    [[ $(tail -n 1 "$place/said.$1") == $3 ]]
}

# The state in words, the code of those who know two, the code of those who know four.
forms_are() {
    local word=$1 two=$2 four=$3
    form datto "$two" '<-End Result->'
    [ "$(head -n 1 "$place/said.datto")" = '<-Start Result->' ]
    [[ $(sed -n 2p "$place/said.datto") == "STATUS=$word: "* ]]
    [ "$(wc -l <"$place/said.datto")" -eq 3 ]
    form ninja "$two" "$word: *"
    # 1001 where codes have eight bits.
    form nsight $((two * 233)) "$word: *"
    form automate 0 "$word: *"
    grep -q -x "Status=$word" "$place/said.automate"
    form tactical "$four" "$word: *"
}

has_plan() {
    nightkeep status --json | grep -q '"plans":\[{'
}

backup_works() {
    nightkeep start
    soon bucket_is ok
}

# The folder that plays the machine is gone.
backup_fails() {
    mv "$place/machine" "$place/away"
    nightkeep start || :
    mv "$place/away" "$place/machine"
    soon bucket_is error
}

require "${needed[@]}"
trap end EXIT
cp "$agent" "$place/nightkeep-agent"
mkdir -p "$place/machine/home"
cp -r protocol/rules "$place/machine/home/"
: >"$place/agent.toml"

start_nagios >"$place/nagios.verify" 2>&1 || { cat "$place/nagios.verify"; exit 1; }
start_prometheus
start_host

claim 'no daemon: Nagios sees UNKNOWN' nagios_sees 3 'UNKNOWN: *' ''
claim 'no daemon: promtool finds nothing wrong' promtool_agrees
claim 'no daemon: Prometheus sees it through the node exporter' prometheus_sees nightkeep_agent_up 0
claim 'no daemon: Checkmk reads UNKNOWN' checkmk_reads 3 'UNKNOWN: '
claim 'no daemon: the forms of remote management systems' forms_are UNKNOWN 1 3
start_daemon
claim 'no host: Nagios sees UNKNOWN' nagios_sees 3 'UNKNOWN: *' ''
claim 'no host: Checkmk reads UNKNOWN' checkmk_reads 3 'UNKNOWN: '
"$host" token create --client Acme --location Office --auto-plan --data "$place/host" | nightkeep enroll --token-file - >/dev/null
soon bucket_is without_plan
claim 'no plan: Nagios sees WARNING' nagios_sees 1 'WARNING: Without plan*' ''
claim 'no plan: promtool finds nothing wrong' promtool_agrees
claim 'no plan: Prometheus sees it' prometheus_sees nightkeep_status 1
claim 'no plan: Checkmk reads WARNING' checkmk_reads 1 'WARNING: '
claim 'no plan: the forms of remote management systems' forms_are WARNING 1 1
# The scan applies it.
scan
soon has_plan
claim 'a backup works' backup_works
claim 'backed up: Nagios sees OK, and the age of the last success' nagios_sees 0 'OK: *' "'age'=*s;;;0;"
claim 'backed up: promtool finds nothing wrong' promtool_agrees
claim 'backed up: Prometheus sees it' prometheus_sees nightkeep_status 0
claim 'backed up: Prometheus tells how long ago' prometheus_sees 'time() - nightkeep_backup_last_success_timestamp_seconds < bool 600' 1
claim 'backed up: Checkmk reads OK and the age' checkmk_reads 0 'age=[0-9]*$'
claim 'backed up: the forms of remote management systems' forms_are OK 0 0
claim 'a backup fails' backup_fails
claim 'failed: Nagios sees CRITICAL, and the age of the last success' nagios_sees 2 'CRITICAL: *' "'age'=*s;;;0;"
claim 'failed: promtool finds nothing wrong' promtool_agrees
claim 'failed: Prometheus sees it' prometheus_sees nightkeep_status 2
claim 'failed: Prometheus still tells how long ago' prometheus_sees 'time() - nightkeep_backup_last_success_timestamp_seconds < bool 600' 1
claim 'failed: Checkmk reads CRITICAL and the age' checkmk_reads 2 'age=[0-9]*$'
claim 'failed: the forms of remote management systems' forms_are CRITICAL 1 2
finish
