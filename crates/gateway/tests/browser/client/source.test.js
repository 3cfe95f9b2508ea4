/** What the code of the pages may not do: read text as HTML or as code. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { fileURLToPath } from "node:url";

const web = fileURLToPath(new URL("../../../web/", import.meta.url));
const files = readdirSync(web, { recursive: true }).filter((name) => /\.(js|html)$/.test(name));

const read = (name) => readFileSync(join(web, name), "utf8");

/** Everything that makes elements or code of a text. */
const FORBIDDEN =
  /innerHTML|outerHTML|insertAdjacentHTML|document\.write|setHTML|DOMParser|createContextualFragment|srcdoc|\beval\b|new Function|javascript:/;

test("no code of the pages reads text as HTML or as code", () => {
  assert.ok(files.includes("client.js") && files.includes(join("chat", "log.js")), `${files}`);
  for (const name of files) assert.doesNotMatch(read(name), FORBIDDEN, name);
});

test("timers are given functions, and no element has a handler in its markup", () => {
  for (const name of files) {
    assert.doesNotMatch(read(name), /set(Timeout|Interval)\(\s*["'`]/, name);
    if (name.endsWith(".html")) assert.doesNotMatch(read(name), /\son\w+\s*=|<script(?![^>]*\ssrc=)/, name);
  }
});

test("attributes that lead somewhere come from code, not from the wire", () => {
  // One place sets them by name: dom.js. Whoever uses another is to be looked at.
  for (const name of files.filter((file) => file.endsWith(".js"))) {
    for (const [, value] of read(name).matchAll(/\b(?:href|src|action|formaction):\s*([^,}]+)/g)) {
      assert.match(value, /^hashOf\(/, `${name} leads to ${value}`);
    }
  }
});
