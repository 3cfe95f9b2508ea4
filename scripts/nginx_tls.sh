#!/usr/bin/env bash
# scripts/nginx_tls.sh GATEWAY: tries nginx/nginx.conf with nginx/tls/certificate.conf in front of a gateway of its own, as
# docker-compose.yml puts them together. Only paths, ports and the name server are others. Ends both.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
gateway=$1
folder=$(mktemp -d)
pids=()
end() {
    local pid
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait
    rm -rf "$folder"
}
trap end EXIT

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
public=$(free_port)
plain=$(free_port)
tls=$(free_port)
health=$(free_port)

"$gateway" dev-cert --dir "$folder/certificates" localhost 127.0.0.1 >/dev/null
for file in nginx.conf balance/ip_hash.conf trust/nobody.conf tls/certificate.conf; do
    sed -e "s|/tmp/|$folder/|" -e "s|/etc/nginx/|$folder/|" \
        -e "s|listen 8080|listen 127.0.0.1:$plain|" -e "s|listen 8443|listen 127.0.0.1:$tls|" \
        -e "s|127.0.0.1:8081|127.0.0.1:$health|" -e "s|gateway:8080 resolve|127.0.0.1:$public|" \
        -e "s|/dev/stdout|$folder/access.log|" "$root/nginx/$file" >"$folder/$(basename "$file")"
done
mv "$folder/ip_hash.conf" "$folder/balance.conf"
mv "$folder/nobody.conf" "$folder/trust.conf"
mv "$folder/certificate.conf" "$folder/tls.conf"
printf 'types { text/html html; }\n' >"$folder/mime.types"
[ "$(id -u)" != 0 ] || sed -i '1i user root;' "$folder/nginx.conf"
sed -i '1i daemon off;' "$folder/nginx.conf"

env -i "$gateway" --set "listen=127.0.0.1:$public" --set admin.listen=127.0.0.1:0 --set drain.window=0s \
    --set trusted_proxies=127.0.0.1/32 >"$folder/gateway.log" 2>&1 &
pids+=($!)
nginx -t -q -p "$folder" -e stderr -c "$folder/nginx.conf"
nginx -p "$folder" -e stderr -c "$folder/nginx.conf" >"$folder/nginx.log" 2>&1 &
pids+=($!)

fail() {
    echo "$1" >&2
    tail -n 20 "$folder/nginx.log" "$folder/gateway.log" >&2
    exit 1
}

client() { python3 "$here/nginx_tls_client.py" "$folder/certificates/cert.pem" "$tls"; }
for ((try = 1; ; try++)); do
    client >"$folder/client.log" 2>&1 && break
    [ "$try" -lt 50 ] || { cat "$folder/client.log" >&2; fail "no page and no WebSocket by TLS"; }
    sleep 0.2
done
cat "$folder/client.log"
