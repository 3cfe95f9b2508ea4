# shellcheck shell=bash
# nginx in front of a cluster: its configuration, start and reload. Sourced by scripts/cluster.
# shellcheck disable=SC2154 # that script and those it sources set the variables

# nginx_conf NUMBER...: nginx in front of these nodes.
nginx_conf() {
    local n user='' servers='' balance='ip_hash;'
    for n in "$@"; do
        # max_fails=0: a 503 means that this one client is to go elsewhere, not that the node takes nobody.
        servers+="server 127.0.0.1:$(port_of "node-$n") max_fails=0; "
    done
    # As root, nginx would give its workers to www-data, which may not be let into the checkout.
    [ "$(id -u)" != 0 ] || user='user root;'
    [ "${CLUSTER_BALANCE:-ip_hash}" = ip_hash ] || balance=''
    sed -e "s|@balance@|$balance|" -e "s|@folder@|$processes|g" -e "s|@port@|$(port_of nginx)|" -e "s|@files@|$(ulimit -n)|" -e "s|@user@|$user|" \
        -e "s|@servers@|$servers|" "$here/cluster.nginx.conf"
}

# front NUMBER...: nginx in front of these nodes, started or reloaded when they are others than before.
front() {
    if ! have nginx; then
        if ! (need_nginx); then
            say "without nginx there is no common URL; the nodes' own URLs work"
            return
        fi
    fi
    runs nginx || keep_port nginx.port 8080
    mkdir -p "$processes/nginx-temp"
    nginx_conf "$@" >"$processes/nginx.conf.new"
    if runs nginx && cmp -s "$processes/nginx.conf.new" "$processes/nginx.conf"; then
        rm "$processes/nginx.conf.new"
        say "nginx runs on port $(port_of nginx)"
        return
    fi
    mv "$processes/nginx.conf.new" "$processes/nginx.conf"
    local nginx=(nginx -p "$processes" -e stderr -c "$processes/nginx.conf")
    "${nginx[@]}" -t -q || fail "nginx refuses $processes/nginx.conf"
    if runs nginx; then
        reload_nginx
        say "nginx reloaded for nodes: $*"
    else
        start nginx "${nginx[@]}"
        say "nginx started on port $(port_of nginx)"
    fi
    wait_status "$READY_S" nginx "$(port_of nginx)" / || front_failed
}

# Workers from before serve their connections on: a reload ends no WebSocket of a node that stays.
reload_nginx() {
    local deadline=$((SECONDS + READY_S)) before
    before=$(grep -c 'gracefully shutting down' "$processes/nginx.log" || true)
    send_signal HUP nginx
    until [ "$(grep -c 'gracefully shutting down' "$processes/nginx.log" || true)" -gt "$before" ]; do
        runs nginx && [ "$SECONDS" -lt "$deadline" ] || front_failed
        sleep 0.1
    done
}

front_failed() {
    log_tail nginx >&2
    fail "nginx does not serve a node's page on port $(port_of nginx); the end of its log is above"
}
