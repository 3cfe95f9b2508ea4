# shellcheck shell=bash
# The processes that a script starts: free ports, process ids that cannot be mistaken, readiness, the end. Sourced.
#
# A process NAME leaves NAME.pid and NAME.log in the folder $processes, which the script sets. Linux only: it reads /proc.
# shellcheck disable=SC2154

# A port of 127.0.0.1 that nobody listens on, from this one on. Ports that are in $taken are left out.
free_port() {
    local port=$1
    while [[ " ${taken:-} " == *" $port "* ]] || (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do
        port=$((port + 1))
    done
    echo "$port"
}

# birth PID: when the process started, in clock ticks since the machine did; nothing for one that has ended. An id is
# given to another process some day, and in a container without an init a killed process stays as a zombie.
birth() {
    local stat fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -ra fields <<<"${stat##*) }"
    [ "${fields[0]}" != Z ] && echo "${fields[19]}"
}

# start NAME COMMAND...: starts it in a session of its own, so that it outlives the script and its terminal. The log of
# the process before it becomes NAME.log.before.
start() {
    local name=$1 pid
    shift
    [ ! -s "$processes/$name.log" ] || mv -f "$processes/$name.log" "$processes/$name.log.before"
    setsid "$@" </dev/null >"$processes/$name.log" 2>&1 9>&- &
    pid=$!
    echo "$pid $(birth "$pid")" >"$processes/$name.pid"
}

# pid NAME: its process id, while it runs.
pid() {
    local id born
    { read -r id born <"$processes/$1.pid"; } 2>/dev/null || return 1
    [ -n "$born" ] && [ "$(birth "$id")" = "$born" ] && echo "$id"
}

runs() { pid "$1" >/dev/null; }

# send_signal SIGNAL NAME: does nothing when it does not run.
send_signal() {
    local id
    if id=$(pid "$2"); then kill -s "$1" "$id" 2>/dev/null || true; fi
}

# wait_end SECONDS NAME: true once it has ended; then its pid file is gone.
wait_end() {
    local deadline=$((SECONDS + $1))
    while runs "$2"; do
        [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
    rm -f "$processes/$2.pid"
}

# http_status PORT PATH: the status of the answer, 000 when there is none within two seconds. Only in $(...).
http_status() {
    local connection line status=000
    trap '' PIPE
    if { exec {connection}<>"/dev/tcp/127.0.0.1/$1"; } 2>/dev/null; then
        # The other side may have closed before the request is out.
        { printf 'GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$2" "$1" >&"$connection"; } \
            2>/dev/null || true
        if read -r -t 2 -u "$connection" line && [[ $line =~ ^HTTP/1\.[01]\ ([0-9]{3}) ]]; then
            status=${BASH_REMATCH[1]}
        fi
        exec {connection}>&-
    fi
    echo "$status"
}

# wait_status SECONDS NAME PORT PATH: true once that answers 200; false when time is up or the process has ended.
wait_status() {
    local deadline=$((SECONDS + $1))
    until [ "$(http_status "$3" "$4")" = 200 ]; do
        runs "$2" && [ "$SECONDS" -lt "$deadline" ] || return 1
        sleep 0.1
    done
}

# log_tail NAME: the end of its log, indented, for a message.
log_tail() { tail -n 20 "$processes/$1.log" | sed 's/^/    /'; }
