"""The cluster that scripts/compose-test has started: its containers, its Prometheus, and what is done to it."""

import asyncio
import json
import os
import re
import time
import urllib.error
import urllib.parse
import urllib.request

PORT = int(os.environ["NGINX_PORT"])
PROMETHEUS_PORT = int(os.environ["PROMETHEUS_PORT"])


async def run(*command, **environment):
    """The output of a command that must succeed within two minutes."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    try:
        out, errors = await asyncio.wait_for(process.communicate(), 120)
    except asyncio.TimeoutError:
        process.kill()
        raise SystemExit(f"{' '.join(command)} has not ended after two minutes") from None
    if process.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{errors.decode()}")
    return out.decode()


async def compose(*arguments, **environment):
    """Project and files are in the environment (COMPOSE_PROJECT_NAME and its like)."""
    return await run("docker", "compose", "--progress", "quiet", *arguments, **environment)


async def scale(count, *options):
    """As a user does it: nothing else of the cluster is touched."""
    await compose("up", "--detach", "--no-build", "--no-recreate", *options, "--scale", f"gateway={count}")


async def renew_nginx(**environment):
    """nginx anew, with other settings; returns once it is healthy."""
    await compose("up", "--detach", "--no-build", "--no-deps", "--wait", "nginx", **environment)


async def nodes():
    """The gateways that run: node name -> container id. The name is in the first line of a gateway's log."""
    found = {}
    for container in (await compose("ps", "--quiet", "gateway")).split():
        names = []
        while not names:
            names = re.findall(r"^gateway \S+ node (\S+) with", await run("docker", "logs", container), re.MULTILINE)
            if not names:
                await asyncio.sleep(0.2)
        found[names[-1]] = container
    return found


def http(port, path):
    """Status and body."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


async def ask_prometheus(path, **query):
    """The data of an answer of its API."""
    url = f"/api/v1/{path}?{urllib.parse.urlencode(query)}"
    status, body = await asyncio.to_thread(http, PROMETHEUS_PORT, url)
    answer = json.loads(body)
    if status != 200 or answer["status"] != "success":
        raise SystemExit(f"Prometheus answers {url} with {status}: {body}")
    return answer["data"]


async def gateways_up():
    """How many gateways answered when Prometheus asked last."""
    result = (await ask_prometheus("query", query='count(up{job="gateway"} == 1)'))["result"]
    return int(result[0]["value"][1]) if result else 0


async def seconds_until(condition, seconds):
    """How long until the asynchronous condition holds; None when time is up. For what cannot be waited on."""
    began = time.monotonic()
    while not await condition():
        if time.monotonic() - began > seconds:
            return None
        await asyncio.sleep(0.25)
    return time.monotonic() - began
