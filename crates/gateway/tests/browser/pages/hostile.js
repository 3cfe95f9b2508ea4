/** What strangers may send to the pages: messages, names and channels of markup are text, whoever shows them. */

import assert from "node:assert/strict";
import { open, person } from "./browser.js";

/** What would run, load or hide something if any of it were read as HTML. */
const MARKUP = [
  '<img src=x onerror="alert(1)">',
  "<script>alert(1)</script>",
  '"><svg onload=alert(1)>',
  '<a href="javascript:alert(1)">here</a>',
  "</p></li></ol><iframe srcdoc='<script>parent.alert(1)</script>'></iframe>",
  "<style>*{display:none}</style>",
  "&lt;b&gt;&amp;",
  "\u202eright to left\u202c \u0000 end",
];

/** Publications that no page of ours sends. Each is shown as some text, or not at all. */
const SHAPES = [
  [1, ["<b>"], { a: "<b>" }],
  { text: { toString: "<b>" }, name: ["<b>"], id: {} },
  { text: "<b>bold</b>", name: { "<b>": 1 } },
  { name: "<img src=x onerror=alert(1)>".repeat(2_000), text: "a long name" },
  JSON.parse('{"__proto__":{"text":"<b>","name":"<b>"},"constructor":{"prototype":{"polluted":true}}}'),
  null,
  false,
  "<img src=x onerror=alert(1)>",
];

/** What no text can become, anywhere on a page. */
async function isOnlyText(page, what) {
  const found = await page.evaluate(() => {
    const made = "#entries :is(img, script, svg, iframe, style, u), :is(#members, #channels, #title, #typing) :is(img, script, i)";
    const running = "[onerror], [onload], [srcdoc], [href^='javascript:'], body script";
    return [...document.querySelectorAll(`${made}, ${running}`)].map((element) => element.outerHTML);
  });
  assert.deepEqual(found, [], `${what} became elements`);
}

/** Says all of it between two people. `step(what, run)` tells each. */
export async function hostile(browser, [first, second], step) {
  const channel = `chat:<img/src=x/onerror=alert(1)>"'&-${Date.now().toString(36).slice(-4)}`;
  const name = "<img src=x onerror=alert(1)>";
  const ann = await person(browser, first, encodeURIComponent(channel), name);
  const ben = await person(browser, second, encodeURIComponent(channel), "Ben");
  const people = [ann, ben];

  await step("a channel and a name of markup are text, in every place that shows them", async () => {
    await Promise.all([ann.sees([name, "Ben"]), ben.sees(["Ben", name])]);
    for (const { page } of people) {
      assert.equal((await page.locator("#title").textContent()).trim(), channel.replace("chat:", ""));
      assert.ok((await page.title()).includes(channel.replace("chat:", "")));
      await isOnlyText(page, "names");
    }
    await ann.page.locator("#words").pressSequentially("x");
    await ben.page.locator("#typing", { hasText: `${name} is typing…` }).waitFor();
    await isOnlyText(ben.page, "the name of who is typing");
    await ann.page.locator("#words").fill("");
  });

  await step("messages of markup are read as they were written", async () => {
    for (const text of MARKUP) await ann.say(text);
    await Promise.all(people.map((one) => one.hears(MARKUP)));
    for (const { page } of people) await isOnlyText(page, "messages");
  });

  await step("what has another shape is text as well, and breaks nothing", async () => {
    await ben.page.evaluate(
      async ([to, shapes]) => {
        const { Gateway } = await import("./client.js");
        const gateway = new Gateway(new URL("ws", document.baseURI).href);
        await gateway.connect();
        for (const event of [undefined, "message", "name", "typing", "<img src=x onerror=alert(1)>"]) {
          for (const data of shapes) await gateway.publish(to, data, { event });
        }
        await gateway.publish(to, { text: "the last of them" }, { event: "message" });
        gateway.close();
      },
      [channel, SHAPES],
    );
    for (const { page } of people) {
      await page.locator("#entries .text", { hasText: /^the last of them$/ }).waitFor();
      await isOnlyText(page, "other shapes");
      assert.equal(await page.evaluate(() => ({}).polluted), undefined);
    }
  });

  await step("by hand, and in a private conversation, it is text too", async () => {
    await ben.page.getByRole("button", { name }).first().click();
    await ben.page.locator("#title", { hasText: name }).waitFor();
    await ben.say(MARKUP[0]);
    await ben.hears([MARKUP[0]]);
    await isOnlyText(ben.page, "a private message");
    const { page, faults } = await open(browser, `${first}/`);
    await page.locator("#hand-toggle").click();
    await page.locator("#hand-channel").fill(channel);
    await page.locator("#hand-subscribe button").click();
    await page.locator("#hand-data").fill(JSON.stringify(MARKUP[0]));
    await page.locator("#hand-publish button").click();
    await page.locator("#hand-frames .in", { hasText: '"type":"publication"' }).first().waitFor();
    assert.equal(await page.locator("#hand-frames :is(img, script)").count(), 0);
    people.push({ page, faults, name: "who does it by hand" });
  });
  for (const one of people) assert.deepEqual(one.faults, [], `faults of the page of ${one.name}`);
  for (const { page } of people) await page.context().close();
}
