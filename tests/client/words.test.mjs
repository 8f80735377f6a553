// The words of the page: every language has the same, none is unused, none is missing, and no view says anything else.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { best, language, languages, speak, t } from "../../www/js/i18n.mjs";

const folder = new URL("../../www/js/", import.meta.url);
const sources = readdirSync(folder, { recursive: true })
  .filter((file) => file.endsWith(".mjs") && !file.startsWith("words/"))
  .map((file) => ({ file, text: readFileSync(new URL(file, folder), "utf8") }));
const dictionaries = await Promise.all(languages.map(async ({ tag, load }) => ({ tag, words: (await load()).words })));
const [english, ...others] = dictionaries;
const textsOf = (word) => (typeof word === "string" ? [word] : Object.values(word));
const namesIn = (word) => [...new Set(textsOf(word).flatMap((text) => [...text.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)))].sort();

test("every language has the same keys with the same names in them", () => {
  assert.ok(Object.keys(english.words).length > 100);
  for (const { tag, words } of others) {
    assert.deepEqual(Object.keys(words).sort(), Object.keys(english.words).sort(), tag);
    for (const key of Object.keys(words)) {
      // A plural that has no word for one may leave the number out there, no more than that.
      assert.deepEqual(namesIn(words[key]), namesIn(english.words[key]), `${tag}: ${key}`);
    }
  }
});

test("every text says something, and every plural covers its language", () => {
  for (const { tag, words } of dictionaries) {
    const { locale } = languages.find((one) => one.tag === tag);
    for (const [key, word] of Object.entries(words)) {
      assert.ok(textsOf(word).every((text) => text.trim()), `${tag}: ${key} is empty`);
      if (typeof word === "string") continue;
      assert.deepEqual(Object.keys(word).sort(), new Intl.PluralRules(locale).resolvedOptions().pluralCategories.toSorted(), `${tag}: ${key}`);
    }
  }
});

/** What the sources name: whole keys, and beginnings that a value completes. */
function named() {
  const keys = new Map();
  const beginnings = new Map();
  for (const { file, text } of sources) {
    for (const [, key] of text.matchAll(/"([a-zA-Z][\w-]*(?:\.[\w%°/-]+)+)"/g)) keys.set(key, file);
    for (const [, beginning] of text.matchAll(/(?:t|known)\(`([\w.-]+\.)\$\{/g)) beginnings.set(beginning, file);
    // `${label}.sign`: a key beside a key.
    for (const [, ending] of text.matchAll(/t\(`\$\{\w+\}(\.\w+)`/g)) for (const key of [...keys.keys()]) keys.set(key + ending, file);
  }
  return { keys, beginnings };
}

test("no word is unused", () => {
  const { keys, beginnings } = named();
  const used = (key) => keys.has(key) || [...beginnings.keys()].some((beginning) => key.startsWith(beginning));
  assert.deepEqual(Object.keys(english.words).filter((key) => !used(key)), []);
});

test("no word is missing", () => {
  const { keys, beginnings } = named();
  const groups = new Set(Object.keys(english.words).map((key) => key.split(".")[0]));
  const literal = new Set();
  for (const { text } of sources) for (const [, key] of text.matchAll(/\bt\(\s*"([^"]+)"/g)) literal.add(key);
  for (const key of keys.keys()) if (groups.has(key.split(".")[0]) && !/\.(mjs|sign)$/.test(key)) literal.add(key);
  assert.deepEqual([...literal].filter((key) => english.words[key] === undefined), []);
  for (const beginning of beginnings.keys()) assert.ok(Object.keys(english.words).some((key) => key.startsWith(beginning)), beginning);
});

test("no template has a text of its own", () => {
  const found = [];
  for (const { file, text } of sources) {
    for (const [, template] of text.matchAll(/html`((?:[^`\\]|\\.)*)`/g)) {
      const bare = template.replace(/\$\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}/g, "").replace(/<!--[\s\S]*?-->/g, "");
      for (const [, words] of bare.matchAll(/>([^<>]*\p{L}{2,}[^<>]*)</gu)) if (!/^\s*F\d+\s*$/.test(words) && !/[=;{}]/.test(words)) found.push(`${file}: ${words.trim()}`);
      for (const [, words] of bare.matchAll(/(?:title|aria-label|placeholder|alt)="([^"]*\p{L}[^"]*)"/gu)) found.push(`${file}: ${words}`);
    }
  }
  assert.deepEqual(found, []);
});

test("speaks the language that fits best, counts by its rules, and fails on what is not there", async () => {
  assert.equal(best(["fr-FR", "zh-TW", "en"]).tag, "zh");
  assert.equal(best(["fr"]).tag, "en");
  await speak("zh");
  assert.equal(language().locale, "zh-CN");
  assert.equal(t("patients.count", { n: 1 }), "1 名患者");
  await speak("en");
  assert.equal(t("patients.count", { n: 1 }), "1 patient");
  assert.equal(t("patients.count", { n: 2 }), "2 patients");
  assert.throws(() => t("patients.nonsense"), /no word/);
});
