"""The acts of scripts/compose-test: what people do to a cluster while clients chat, and what must hold all along.

Ends with 0 when every check has passed. To be started by scripts/compose-test, which says what it needs.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path

import compose_cluster as cluster
from compose_chat import Chat, address
from compose_client import Lost, Socket

# Connections of one node, lost without a word, are gone from presence after its lease (6 s), a reaper's turn (2 s) and
# the grace (2 s).
PRESENCE_S = 20
DASHBOARD = Path(__file__).parent.parent / "deploy/grafana/dashboards/gateway.json"
# Nothing was refused, or there are fewer than 100 connections.
MAY_BE_EMPTY = {"Handshakes and requests refused a second", "Commands refused a second", "Memory for a connection"}

began = time.monotonic()
passed, failed = [], []


def check(what, holds, detail=""):
    """One line, and one more in the count."""
    (passed if holds else failed).append(what)
    note = f" ({detail})" if detail != "" else ""
    print(f"{time.monotonic() - began:6.1f} s  {'ok  ' if holds else 'FAIL'}  {what}{note}", flush=True)


async def check_presence(chat, when):
    """Every node tells of exactly the connections there are: each anonymous one is a user of its own."""
    expected = len(chat.clients)
    asked = {client.node: client for client in chat.clients if client.node}

    async def agree():
        try:
            counts = [len(await client.members()) for client in asked.values()]
        except Lost:
            return False
        agree.last = counts
        return all(count == expected for count in counts)

    agree.last = []
    took = await cluster.seconds_until(agree, PRESENCE_S)
    detail = f"after {took:.1f} s" if took is not None else f"{agree.last} where {expected} are"
    check(f"{when}, every node tells of the same {expected} members", took is not None, detail)


async def check_scraped(count, when):
    took = await cluster.seconds_until(lambda: equals(cluster.gateways_up, count), 15)
    check(f"Prometheus has {count} gateways up within 15 s {when}", took is not None, took and f"{took:.1f} s")


async def equals(ask, value):
    return await ask() == value


async def act_public_paths():
    check("the front page is served", cluster.http(cluster.PORT, "/")[0] == 200)
    paths = ("/metrics", "/healthz", "/readyz", "/shedding", "/drain", "/resume", "/rebalance")
    statuses = [cluster.http(cluster.PORT, path)[0] for path in paths]
    check("nothing of the admin port is", statuses == [404] * len(paths), statuses)


async def act_meet(chat):
    """Clients of many networks share a channel and presence, whatever node they are on."""
    nodes = await cluster.nodes()
    spread = await chat.join_until(nodes, each=3, most=60)
    check("clients of different /24s reach all 3 nodes", spread, chat.spread())
    await check_ip_hash()
    chat.start_publishing()
    check("they chat", await chat.progress())
    await check_presence(chat, "at the start")


async def nodes_of(forwarded_addresses):
    """Where connections from these addresses arrive."""
    found = []
    for forwarded_for in forwarded_addresses:
        socket = await Socket.open(cluster.PORT, "/ws", forwarded_for)
        found.append(json.loads(await asyncio.wait_for(socket.receive(), 10))["node"].split(".")[0])
        socket.close()
    return found


async def check_ip_hash():
    found = set(await nodes_of(address(7, host) for host in range(1, 21)))
    check("ip_hash gives 20 clients of one /24 one node", len(found) == 1, len(found))


async def act_scale_up(chat):
    """Two nodes more: nobody is disturbed, and new clients reach them without anybody's doing."""
    before = set(await cluster.nodes())
    endings = sum(len(client.endings) for client in chat.clients)
    await cluster.scale(5)
    await check_scraped(5, "after scaling to 5")
    new = set(await cluster.nodes()) - before
    began = time.monotonic()
    reached = await chat.join_until(new, each=2, most=60)
    check("new clients reach both new nodes, nginx untouched", reached, f"{time.monotonic() - began:.1f} s")
    check("nobody was disconnected", sum(len(client.endings) for client in chat.clients) == endings)
    check("they chat on", await chat.progress())
    await check_presence(chat, "with 5 nodes")


async def act_scale_down(chat):
    """Three nodes less: their clients are told, go elsewhere and miss nothing; the others notice nothing."""
    placed = {client: (client.node, len(client.endings)) for client in chat.clients}
    began = time.monotonic()
    await cluster.scale(2)
    took = time.monotonic() - began
    left = set(await cluster.nodes())
    check("two nodes are left", len(left) == 2, f"compose took {took:.1f} s")
    stayed = [client for client, (node, _) in placed.items() if node in left]
    moved = [client for client, (node, _) in placed.items() if node not in left]
    back = await chat.settled(moved, left)
    check(f"the {len(moved)} clients of the other three are on these", back, chat.spread())
    check(
        f"the {len(stayed)} clients of the two have kept their connections",
        all(len(client.endings) == placed[client][1] for client in stayed),
    )
    check_endings("all that moved were told to reconnect", [client.endings[placed[client][1] :] for client in moved])
    await check_scraped(2, "after scaling to 2")
    check("they chat on", await chat.progress())
    await check_presence(chat, "with 2 nodes")


def check_endings(what, endings):
    codes = [[(ending.code, ending.was_told) for ending in of_one] for of_one in endings]
    told = all(of_one and all(code == 4200 and was_told for code, was_told in of_one) for of_one in codes)
    check(what, told, "" if told else f"close codes, and whether a reconnect push came before: {codes}")


async def act_stop_one(chat):
    """One container is stopped: a drain. Then it is started anew."""
    (node, container), *_ = (await cluster.nodes()).items()
    rest = set(await cluster.nodes()) - {node}
    moved = chat.on([node])
    before = [len(client.endings) for client in moved]
    began = time.monotonic()
    await cluster.run("docker", "stop", "--time", "40", container)
    took = time.monotonic() - began
    check("a container that is stopped drains in its time", took < 38, f"{took:.1f} s")
    state = await cluster.run("docker", "inspect", "--format", "{{.State.ExitCode}}", container)
    check("and ends with 0", state.strip() == "0", state.strip())
    check(f"its {len(moved)} clients are on the other", await chat.settled(moved, rest), chat.spread())
    check_endings("all of them were told", [client.endings[count:] for client, count in zip(moved, before)])
    check("they chat on", await chat.progress())
    await check_presence(chat, "with one node")
    await cluster.scale(3, "--wait")
    await check_scraped(3, "after scaling back to 3")


async def act_kill_one(chat):
    """One container dies without a word."""
    nodes = await cluster.nodes()
    spread = await chat.join_until(nodes, each=2, most=12)
    check("new clients reach all 3 nodes again", spread, chat.spread())
    node = min(nodes, key=lambda name: len(chat.on([name])))
    moved = chat.on([node])
    await cluster.run("docker", "kill", nodes[node])
    rest = set(nodes) - {node}
    began = time.monotonic()
    back = await chat.settled(moved, rest)
    check(f"the {len(moved)} clients of a killed node are on the others", back, f"{time.monotonic() - began:.1f} s")
    check("they chat on", await chat.progress())
    await check_presence(chat, "after the kill")


async def act_redis_restarts(chat):
    """Redis comes back with its data: sockets stay, nothing is lost."""
    endings = sum(len(client.endings) for client in chat.clients)
    await cluster.compose("restart", "redis")
    check("they chat on after a restart of Redis", await chat.progress(), chat.refusals())
    check("nobody was disconnected by it", sum(len(client.endings) for client in chat.clients) == endings)


async def act_account(chat):
    """What was published has come everywhere, once and in order."""
    await chat.stop_publishing()
    check("every client has all publications to the last", await chat.say_goodbye())
    first = [data for data in chat.clients[0].seen if data != "end"]
    missing = [data for data in chat.published if first.count(data) != 1]
    check(f"each of {len(chat.published)} answered publications came exactly once", not missing, missing[:5] or "")
    faults = [fault for client in chat.clients for fault in client.faults]
    deliveries = sum(len(client.seen) for client in chat.clients)
    check(f"no hole, no repeat, no gap in {deliveries} deliveries", not faults, faults[:5] or "")
    in_vain = Counter(code for client in chat.clients for code in client.failed_attempts)
    print(f"          attempts to connect in vain, by status or close code: {dict(in_vain)}")


async def act_prometheus():
    groups = (await cluster.ask_prometheus("rules"))["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    unwell = [rule["name"] for rule in rules if rule["health"] != "ok"]
    check(f"all {len(rules)} alerts can be evaluated", rules and not unwell, unwell or "")
    panels = json.loads(DASHBOARD.read_text())["panels"]
    empty = {panel["title"] for panel in panels if panel["type"] != "row" and not await shows_something(panel)}
    check("every panel of the dashboard can be drawn", not empty - MAY_BE_EMPTY, f"nothing to show: {sorted(empty)}")


async def shows_something(panel):
    results = []
    for target in panel["targets"]:
        query = target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")
        results += (await cluster.ask_prometheus("query", query=query))["result"]
    return results


async def act_nginx_choices():
    """The two settings of nginx that are files."""
    await cluster.renew_nginx(NGINX_TRUST="nobody")
    found = set(await nodes_of(address(network) for network in range(20)))
    check("X-Forwarded-For means nothing from somebody who is not trusted", len(found) == 1, len(found))
    await cluster.renew_nginx(NGINX_BALANCE="address")
    found = await nodes_of(address(7, host) for host in range(1, 21))
    check("NGINX_BALANCE=address spreads 20 clients of one /24", len(set(found)) > 1, len(set(found)))
    check("and gives one address one node", len(set(await nodes_of([address(7)] * 5))) == 1)
    await cluster.renew_nginx(NGINX_BALANCE="least_conn")
    found = await nodes_of([address(7)] * 20)
    check("NGINX_BALANCE=least_conn spreads 20 clients of one address", len(set(found)) > 1, len(set(found)))
    await cluster.renew_nginx()


async def main():
    chat = Chat()
    await check_scraped(3, "after the start")
    await act_public_paths()
    await act_nginx_choices()
    for act in (act_meet, act_scale_up, act_scale_down, act_stop_one, act_kill_one, act_redis_restarts, act_account):
        await act(chat)
    await asyncio.gather(*(client.leave() for client in chat.clients))
    await act_prometheus()
    print(f"compose: {len(passed)} checks passed, {len(failed)} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
