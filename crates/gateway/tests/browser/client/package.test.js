// The client as a package of npm: what is in it, that it can be imported, and how large it is in a page's bundle.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { build } from "esbuild";

const gateway = new URL("../../../", import.meta.url);
const folder = mkdtempSync(join(tmpdir(), "gateway-client-"));
after(() => rmSync(folder, { recursive: true }));

/** As bundlers count, without compression. */
const MINIFIED_BYTES_MAX = 12_000;

const run = (program, args, cwd) => execFileSync(program, args, { cwd, encoding: "utf8" });

function pack() {
  const [packed] = JSON.parse(run("npm", ["pack", "--json", "--silent", "--pack-destination", folder], new URL("npm/", gateway)));
  const installed = join(folder, "node_modules", packed.name);
  mkdirSync(installed, { recursive: true });
  run("tar", ["-xzf", join(folder, packed.filename), "-C", installed, "--strip-components=1"]);
  return packed;
}

test("it is packed with its types and licences, bears the workspace's version, and is imported under Node", () => {
  const { files, version } = pack();
  const names = files.map(({ path }) => path);
  for (const name of ["client.js", "client.d.ts", "client/wire.js", "LICENSE-MIT", "LICENSE-APACHE", "README.md"]) {
    assert.ok(names.includes(name), `${name} is missing in ${names}`);
  }
  const web = names.filter((name) => name.startsWith("client"));
  assert.ok(web.every((name) => readFileSync(join(folder, "node_modules/gateway-client", name)).length > 0));
  const workspace = readFileSync(new URL("../../Cargo.toml", gateway), "utf8");
  assert.equal(workspace.match(/^version = "(.*)"$/m)[1], version);

  const program = `
    import { Gateway, GatewayError } from "gateway-client";
    class Silent { send() {} close() {} }
    const gateway = new Gateway("ws://localhost:1/ws", { WebSocket: Silent });
    const subscription = gateway.subscribe("news");
    await gateway.publish("news", 1).catch((error) => console.log(error instanceof GatewayError, error.code));
    console.log(gateway.state, subscription.state);
  `;
  writeFileSync(join(folder, "program.mjs"), program);
  assert.equal(run(process.execPath, ["program.mjs"], folder), "true closed\nclosed waiting\n");
});

test("a page's bundle grows by little", async () => {
  const entry = new URL("web/client.js", gateway).pathname;
  const options = { bundle: true, minify: true, format: "esm", target: "es2022", write: false };
  const { outputFiles } = await build({ entryPoints: [entry], ...options });
  const bytes = outputFiles[0].contents.length;
  assert.ok(bytes <= MINIFIED_BYTES_MAX, `${bytes} bytes minified`);
});
