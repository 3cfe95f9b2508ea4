"""Publishes by the gateways' Redis: python publish.py redis://localhost CHANNEL JSON. Needs `pip install redis`."""

import pathlib
import sys

import redis

url, channel, data = sys.argv[1:]
script = pathlib.Path(__file__).with_name("publish.lua").read_text()
publish = redis.Redis.from_url(url).register_script(script)
epoch, offset = publish(keys=[f"gw:{{{channel}}}"], args=[data, "event", "greeting"])
print(epoch.decode(), offset)
