// What the page says and in which language. The words are in words/, one file a language, all with the same keys.
//
// A word is a text with {names} in it, or { one, other } of which `n` decides by the plural rules of the language.

/** The languages there are; `locale` decides how dates and numbers are written. */
export const languages = [
  { tag: "en", locale: "en-GB", name: "English", load: () => import("./words/en.mjs") },
  { tag: "zh", locale: "zh-CN", name: "简体中文", load: () => import("./words/zh.mjs") },
];

let current = languages[0];
let words = {};
let plural = new Intl.PluralRules(current.locale);

/** The language that fits best of those that a person prefers, the most preferred first. */
export const best = (preferred) =>
  preferred.map((tag) => languages.find((one) => tag?.toLowerCase().split("-")[0] === one.tag)).find(Boolean) ?? languages[0];

/** Loads the words of a language and speaks it from then on. */
export async function speak(tag) {
  const next = best([tag]);
  ({ words } = await next.load());
  current = next;
  plural = new Intl.PluralRules(current.locale);
}

/** { tag, locale, name } of the language spoken. */
export const language = () => current;

/** The text for a key; throws where there is none, so that a forgotten word does not reach anybody. */
export function t(key, values = {}) {
  const word = words[key];
  if (word === undefined) throw new Error(`there is no word for '${key}'`);
  const text = typeof word === "string" ? word : (word[plural.select(values.n)] ?? word.other);
  return text.replace(/\{(\w+)\}/g, (whole, name) => values[name] ?? whole);
}

/** The text for a key that may not be known, such as a code out of a record; `other` where it is not. */
export const known = (key, other) => (words[key] === undefined ? other : t(key));
